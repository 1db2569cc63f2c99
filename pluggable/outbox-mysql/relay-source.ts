import { randomUUID } from 'node:crypto'
import type { Backlog } from '../outbox/metrics.ts'
import { askEveryMs, presentMs, type RelaySource } from '../outbox/relay-source.ts'
import type { Database } from './database.ts'
import type { Tables } from './schema.ts'

/** So few rows are read without looking at their sizes first. */
const few = 24

const maxCounted = 100_000

/**
 * Creates what the relay needs of the outbox table. The lease depends only on the database's clock.
 */
export function createMysqlRelaySource(
  database: Database,
  tables: Tables,
): RelaySource<number> & { backlog(): Promise<Backlog> } {
  const owner = `${process.pid}-${randomUUID()}`
  let askedAt = -Infinity
  const until = 'UTC_TIMESTAMP(6) + INTERVAL ? MICROSECOND'

  const ageMicroseconds = 'TIMESTAMPDIFF(MICROSECOND, created, CURRENT_TIMESTAMP(6))'

  const columns = `id, partition_key, topic, sequence, payload, ${ageMicroseconds} AS age`
  // What nearly every read finds is all there is.
  const fewRows = `SELECT ${columns} FROM ${tables.outbox} ORDER BY id LIMIT ?`
  let manyWait = false

  // Each row counts if the rows before it have fewer bytes than the limit, so at least one does.
  const oldestRows = `
    SELECT ${columns}
    FROM ${tables.outbox}
    JOIN (
      SELECT id FROM (
        SELECT id, bytes, SUM(bytes) OVER (ORDER BY id) AS total
        FROM (SELECT id, bytes FROM ${tables.outbox} ORDER BY id LIMIT ?) AS oldest
      ) AS summed
      WHERE total - bytes < ?
    ) AS fitting USING (id)
    ORDER BY id`

  return {
    async acquireLease(leaseMs) {
      const result = await database.use((session) =>
        session.write(
          `UPDATE ${tables.lease}
           SET owner = ?, token = LAST_INSERT_ID(token + 1), expires = ${until}
           WHERE name = 'relay' AND expires <= UTC_TIMESTAMP(6)`,
          [owner, leaseMs * 1_000],
        ),
      )
      if (result.affectedRows === 1) return { token: Number(result.insertId) }
      if (performance.now() - askedAt > askEveryMs) {
        await database.use((session) =>
          session.write(`UPDATE ${tables.lease} SET asked = UTC_TIMESTAMP(6) WHERE name = 'relay'`),
        )
        askedAt = performance.now()
      }
      return undefined
    },

    async renewLease({ token }, leaseMs) {
      const [renewed, found] = (await database.use((session) =>
        session.plain(
          `UPDATE ${tables.lease} SET expires = ${until} WHERE name = 'relay' AND token = ?;
           SELECT COALESCE(asked > UTC_TIMESTAMP(6) - INTERVAL ? MICROSECOND, 0) AS shared
           FROM ${tables.lease} WHERE name = 'relay'`,
          [leaseMs * 1_000, token, presentMs * 1_000],
        ),
      )) as unknown as [{ affectedRows: number }, { shared: unknown }[]]
      return renewed.affectedRows === 1 ? { isShared: Number(found[0]?.shared) === 1 } : undefined
    },

    async releaseLease({ token }) {
      await database.use((session) =>
        session.write(`UPDATE ${tables.lease} SET expires = UTC_TIMESTAMP(6) WHERE name = 'relay' AND token = ?`, [
          token,
        ]),
      )
    },

    async read(limits) {
      return database.use(async (session) => {
        // Sizes first if many wait: 500 rows of a megabyte each must not be in memory together.
        // One SELECT is one snapshot, and a transaction takes its ids under its partition key's
        // lock, so no key has a gap before a row that is visible here.
        const rows = manyWait
          ? await session.rows(oldestRows, [limits.rows, limits.bytes])
          : await session.rows(fewRows, [Math.min(few, limits.rows)])
        manyWait = rows.length >= few
        return rows.map((row) => ({
          position: Number(row['id']),
          partitionKey: (row['partition_key'] as Buffer).toString('utf8'),
          ...(row['topic'] === null ? {} : { topic: String(row['topic']) }),
          sequence: Number(row['sequence']),
          payload: row['payload'] as Buffer,
          ageMs: Number(row['age']) / 1_000,
        }))
      })
    },

    async remove(rows, { token }) {
      return database.use(async (session) => {
        // The deleting statement itself locks the lease row and checks the token.
        const result = (await session.plain(
          `DELETE o FROM ${tables.outbox} AS o
           JOIN ${tables.lease} AS l ON l.name = 'relay' AND l.token = ?
           WHERE o.id IN (?)`,
          [token, rows.map((row) => row.position)],
        )) as unknown as { affectedRows: number }
        return result.affectedRows > 0
      })
    },

    async backlog() {
      return database.use(async (session) => {
        const [counted] = await session.rows(
          `SELECT COUNT(*) AS n FROM (SELECT 1 FROM ${tables.outbox} LIMIT ${maxCounted}) AS counted`,
        )
        const [oldest] = await session.rows(
          `SELECT ${ageMicroseconds} AS age FROM ${tables.outbox} ORDER BY id LIMIT 1`,
        )
        return { rows: Number(counted?.['n'] ?? 0), oldestAgeSeconds: Math.max(0, Number(oldest?.['age'] ?? 0) / 1e6) }
      })
    },
  }
}
