import { ComponentError } from '../host/errors.ts'
import type { Database, Session } from './database.ts'

/** The tables of one store. All names begin with the state table's. */
export type Tables = { state: string; outbox: string; sequence: string; lease: string; router: string; version: string }

export const tablesOf = (tableName: string): Tables => ({
  state: tableName,
  outbox: `${tableName}_outbox`,
  sequence: `${tableName}_outbox_sequence`,
  lease: `${tableName}_outbox_lease`,
  router: `${tableName}_outbox_router`,
  version: `${tableName}_outbox_version`,
})

/** The condition for rows of the state table that have not expired. */
export const live = '(expiredate IS NULL OR expiredate > CURRENT_TIMESTAMP)'

/**
 * Each entry takes the schema to the next version. Every statement can run twice: DDL commits
 * implicitly, so after a crash an entry is repeated from its start.
 *
 * The state table has the layout of Dapr's state.mysql, but keys of 1,024 bytes that are compared
 * byte by byte.
 */
const migrations: ((tables: Tables, session: Session) => string[] | Promise<string[]>)[] = [
  (tables) => [
    `CREATE TABLE IF NOT EXISTS ${tables.state} (
      id VARBINARY(1024) NOT NULL PRIMARY KEY,
      value JSON NOT NULL,
      isbinary BOOLEAN NOT NULL,
      insertDate TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
      updateDate TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
      eTag VARCHAR(36) NOT NULL,
      expiredate TIMESTAMP NULL,
      INDEX expiredate_idx (expiredate)
    ) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin`,
    // The committing transaction takes the id under the partition key's lock: within a key, id
    // order is commit order.
    `CREATE TABLE IF NOT EXISTS ${tables.outbox} (
      id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
      partition_key VARBINARY(1024) NOT NULL,
      sequence BIGINT UNSIGNED NOT NULL,
      event_id VARCHAR(255) NOT NULL,
      bytes INT UNSIGNED NOT NULL,
      payload LONGBLOB NOT NULL,
      created TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3)
    ) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin`,
    `CREATE TABLE IF NOT EXISTS ${tables.sequence} (
      partition_key VARBINARY(1024) NOT NULL PRIMARY KEY,
      last BIGINT UNSIGNED NOT NULL
    ) ENGINE = InnoDB`,
    `CREATE TABLE IF NOT EXISTS ${tables.lease} (
      name VARCHAR(16) NOT NULL PRIMARY KEY,
      owner VARCHAR(128) NOT NULL,
      token BIGINT UNSIGNED NOT NULL,
      expires DATETIME(6) NOT NULL
    ) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin`,
    `INSERT IGNORE INTO ${tables.lease} (name, owner, token, expires) VALUES ('relay', '', 0, '2000-01-01')`,
  ],
  async (tables, session) => migrationOfDaprTable(tables, await columnsOf(tables.state, session)),
  // As Debezium's outbox event router expects it. Each row is deleted before its transaction
  // commits: only the binary log has it.
  (tables) => [
    `CREATE TABLE IF NOT EXISTS ${tables.router} (
      id VARCHAR(255) NOT NULL,
      aggregatetype VARCHAR(255) NOT NULL,
      aggregateid VARCHAR(1024) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
      sequence BIGINT NOT NULL,
      type VARCHAR(255) NOT NULL,
      payload LONGBLOB NOT NULL,
      PRIMARY KEY (aggregateid, sequence)
    ) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin`,
  ],
  // An event's own topic. Events that waited before go to the Component's, as they would have.
  async (tables, session) => [
    ...((await columnsOf(tables.outbox, session)).has('topic')
      ? []
      : [`ALTER TABLE ${tables.outbox} ADD COLUMN topic VARCHAR(249) CHARACTER SET ascii COLLATE ascii_bin NULL`]),
    // Room for the topic and a line feed before the partition key.
    `ALTER TABLE ${tables.sequence} MODIFY partition_key VARBINARY(1280) NOT NULL`,
    `ALTER TABLE ${tables.router} DROP PRIMARY KEY, ADD PRIMARY KEY (aggregatetype, aggregateid, sequence)`,
  ],
  async (tables, session) =>
    (await columnsOf(tables.lease, session)).has('asked')
      ? []
      : [`ALTER TABLE ${tables.lease} ADD COLUMN asked DATETIME(6) NULL`],
]

type Column = { type: string; charset: string | null }

async function columnsOf(table: string, session: Session): Promise<Map<string, Column>> {
  const rows = await session.rows(
    `SELECT column_name AS name, data_type AS type, character_set_name AS charset
     FROM information_schema.columns
     WHERE table_schema = DATABASE() AND table_name = ?`,
    [table],
  )
  return new Map(
    rows.map((row) => [String(row['name']), { type: String(row['type']), charset: row['charset'] as string | null }]),
  )
}

/**
 * Returns the statements that convert a table created by Dapr's state.mysql, whose keys have up to
 * 255 characters and the database's default collation.
 */
function migrationOfDaprTable({ state }: Tables, columns: Map<string, Column>): string[] {
  const changes: string[] = []
  const id = columns.get('id')
  if (id?.type === 'varchar') {
    // Converted to bytes as is; our keys are UTF-8.
    if (id.charset !== 'utf8mb4')
      changes.push(`ALTER TABLE ${state} MODIFY id VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL`)
    changes.push(`ALTER TABLE ${state} MODIFY id VARBINARY(1024) NOT NULL`)
  }
  // Dapr before 1.11 had no TTL.
  if (!columns.has('expiredate'))
    changes.push(`ALTER TABLE ${state} ADD COLUMN expiredate TIMESTAMP NULL, ADD INDEX expiredate_idx (expiredate)`)
  return changes
}

/** Creating a table writes files and waits for the disk. */
const ddlMs = 10_000

/**
 * Migrates the schema to the newest version. Components that start at the same time take turns by a
 * named lock. Throws STORE_UNAVAILABLE if the database is down, INVALID_SETTING if its schema is
 * newer than this program.
 */
export async function migrate(database: Database, tables: Tables): Promise<void> {
  await database.use(async (session) => {
    const [named] = await session.rows('SELECT DATABASE() AS name')
    // Named locks are server-wide and at most 64 characters long.
    const lock = `outbox:${String(named?.['name'])}.${tables.state}`.slice(0, 64)
    const [locked] = await session.rows('SELECT GET_LOCK(?, 1) AS taken', [lock])
    if (Number(locked?.['taken']) !== 1)
      throw new ComponentError('STORE_UNAVAILABLE', 'another component is migrating the schema')
    try {
      await session.plain(
        `CREATE TABLE IF NOT EXISTS ${tables.version} (version INT NOT NULL PRIMARY KEY) ENGINE = InnoDB`,
      )
      const [found] = await session.rows(`SELECT COALESCE(MAX(version), 0) AS version FROM ${tables.version}`)
      const version = Number(found?.['version'] ?? 0)
      if (version > migrations.length)
        throw new ComponentError(
          'INVALID_SETTING',
          `the schema has version ${version}, this component supports up to ${migrations.length}`,
        )
      for (let next = version; next < migrations.length; next += 1) {
        for (const statement of (await migrations[next]?.(tables, session)) ?? []) await session.plain(statement)
        await session.write(`INSERT INTO ${tables.version} (version) VALUES (?)`, [next + 1])
      }
    } finally {
      await session.rows('SELECT RELEASE_LOCK(?) AS released', [lock]).catch(() => {})
    }
  }, ddlMs)
}
