import { randomUUID } from 'node:crypto'
import type { RowDataPacket } from 'mysql2'
import { ComponentError } from '../host/errors.ts'
import type { SetOperation } from '../host/state-store.ts'
import { conditionalKeys, effectsOf, type FoundRow } from '../outbox/effects.ts'
import { inLockOrder, numberEvents } from '../outbox/event.ts'
import { toRouterRow } from '../outbox/event-router.ts'
import type { Outcome, Transaction } from '../outbox/group-commit.ts'
import { isDuplicate, isLockConflict, isUnavailable, type Database, type Parameter, type Session } from './database.ts'
import { live, type Tables } from './schema.ts'
import { toColumns } from './value.ts'

/** True if another writer was first: the transaction was rolled back and can be retried. */
export const isConflict = (error: unknown): boolean => isLockConflict(error) || isDuplicate(error)

/** Statements that are sent as one packet, and so cost one round trip. */
type Packet = { sql: string[]; parameters: (Parameter | Row[] | string[])[] }
type Row = (Parameter | typeof noExpiry)[]

const noExpiry = { toSqlString: () => 'NULL' }
const expiryIn = (seconds: number) => ({
  toSqlString: () => `CURRENT_TIMESTAMP + INTERVAL ${Math.trunc(seconds)} SECOND`,
})

/**
 * Returns a function that commits a group of transactions, no two of which share a key, as one
 * database transaction of two packets: the first locks the rows that conditions and numbers depend
 * on, the second writes and commits. Rows are locked in the order of their keys, state before
 * numbers before new rows.
 *
 * A transaction whose condition does not hold is left out and gets ETAG_MISMATCH as its outcome.
 * Throws if nothing was done: STORE_UNAVAILABLE, a conflict (see isConflict), or the server's error
 * for one of the values. Throws COMMIT_UNKNOWN if the response to the second packet was lost.
 */
export function createCommit(
  database: Database,
  tables: Tables,
  routedTopic: string | undefined,
): (group: Transaction[]) => Promise<Outcome[]> {
  return (group) =>
    database.use(async (session) => {
      const decided = await lockAndDecide(session, tables, group)
      const outcomes = decided.effects.map((each) => (each instanceof ComponentError ? each : undefined))
      const packet = writes(tables, group, decided, routedTopic)
      if (packet.sql.length === 0) {
        if (decided.locked) await session.plain('ROLLBACK')
        return outcomes
      }
      if (decided.locked || packet.sql.length > 1) packet.sql.push('COMMIT')
      if (!decided.locked && packet.sql.length > 1) packet.sql.unshift('START TRANSACTION')
      try {
        await session.plain(packet.sql.join(';'), packet.parameters as Parameter[])
      } catch (error) {
        // The server reported a failed statement: it did not reach the COMMIT at the packet's end.
        if (!isUnavailable(error)) {
          await session.plain('ROLLBACK').catch(() => {})
          throw error
        }
        throw new ComponentError(
          'COMMIT_UNKNOWN',
          'the response to the commit was lost; all of the transaction was done, or nothing',
          { cause: error },
        )
      }
      return outcomes
    })
}

type Decided = {
  locked: boolean
  found: Map<string, FoundRow>
  /** Of each transaction in the group. */
  effects: ReturnType<typeof effectsOf>[]
  /** The last number of each `numberKey` that has one. */
  last: Map<string, number>
}

async function lockAndDecide(session: Session, tables: Tables, group: Transaction[]): Promise<Decided> {
  const conditional = conditionalKeys(group)
  const numberKeys = [...new Set(group.flatMap(({ events }) => events.map(({ numberKey }) => numberKey)))].toSorted()
  const found = new Map<string, FoundRow>()
  const last = new Map<string, number>()
  const locked = conditional.length > 0 || numberKeys.length > 0
  if (locked) {
    // FORCE INDEX: a small table would be scanned, waiting for the rows of other transactions.
    const sql = ['START TRANSACTION']
    if (conditional.length > 0)
      sql.push(
        `SELECT id, eTag, ${live} AS live FROM ${tables.state} FORCE INDEX (PRIMARY)
         WHERE id IN (?) ORDER BY id FOR UPDATE`,
      )
    if (numberKeys.length > 0)
      sql.push(
        `SELECT partition_key, last FROM ${tables.sequence} FORCE INDEX (PRIMARY)
         WHERE partition_key IN (?) ORDER BY partition_key FOR UPDATE`,
      )
    const parameters = [conditional, numberKeys].filter((keys) => keys.length > 0)
    const results = (await session.plain(sql.join(';'), parameters).catch(async (error: unknown) => {
      // A server that does not respond would only keep the caller waiting longer; losing the
      // connection rolls back too.
      if (!isUnavailable(error)) await session.plain('ROLLBACK').catch(() => {})
      throw error
    })) as unknown as RowDataPacket[][]
    const [, ...rows] = results
    if (conditional.length > 0)
      for (const row of rows.shift() ?? [])
        found.set(text(row['id']), { etag: String(row['eTag']), live: Number(row['live']) === 1 })
    for (const row of rows[0] ?? []) last.set(text(row['partition_key']), Number(row['last']))
  }
  return { locked, found, last, effects: group.map(({ operations }) => effectsOf(operations, found)) }
}

const text = (bytes: unknown): string => (bytes as Buffer).toString('utf8')

/** Returns the statements for the transactions whose conditions hold. */
function writes(
  tables: Tables,
  group: Transaction[],
  { found, last, effects }: Decided,
  routedTopic: string | undefined,
): Packet {
  const packet: Packet = { sql: [], parameters: [] }
  const add = (sql: string, rows: Row[] | string[]) => {
    if (rows.length === 0) return
    packet.sql.push(sql)
    packet.parameters.push(rows)
  }
  const accepted = group.flatMap((transaction, index) => {
    const each = effects[index]
    return each instanceof Map ? [{ ...transaction, effects: each }] : []
  })

  // Numbers: a row that was found is locked. One that was not found must be new; another writer's
  // insert in between is a conflict.
  const { numbers, numbered } = numberEvents(
    accepted.flatMap(({ events }) => events),
    last,
  )
  const counted = [...numbers].toSorted(([a], [b]) => (a < b ? -1 : 1))
  add(
    `INSERT INTO ${tables.sequence} (partition_key, last) VALUES ?`,
    counted.filter(([key]) => !last.has(key)),
  )
  add(
    `INSERT INTO ${tables.sequence} (partition_key, last) VALUES ?
     ON DUPLICATE KEY UPDATE last = VALUES(last)`,
    counted.filter(([key]) => last.has(key)),
  )

  const conditional = new Set(conditionalKeys(accepted))
  const ordered = inLockOrder(
    accepted.flatMap(({ effects: each }) => [...each].map(([key, write]) => ({ key, write }))),
  )
  const insert = `INSERT INTO ${tables.state} (id, value, isbinary, eTag, expiredate) VALUES ?`
  const overwrite = ['value', 'isbinary', 'eTag', 'expiredate']
    .map((column) => `${column} = VALUES(${column})`)
    .join(', ')
  const rowsWhere = (isNew: boolean) =>
    ordered.flatMap(({ key, write }) =>
      write && (conditional.has(key) && !found.has(key)) === isNew ? [toRow(write)] : [],
    )
  add(insert, rowsWhere(true))
  add(`${insert} ON DUPLICATE KEY UPDATE ${overwrite}`, rowsWhere(false))
  const deleted = ordered.filter(({ write }) => !write).map(({ key }) => key)
  if (deleted.length > 0) {
    packet.sql.push(`DELETE FROM ${tables.state} WHERE id IN (?)`)
    packet.parameters.push(deleted)
  }

  if (routedTopic !== undefined) {
    // Inserted and deleted at once: what remains is the insertion in the binary log. FORCE INDEX as
    // above.
    const rows = numbered.map((each) => ({ ...toRouterRow(each, routedTopic), sequence: each.sequence }))
    add(
      `INSERT INTO ${tables.router} (id, aggregatetype, aggregateid, sequence, type, payload) VALUES ?`,
      rows.map(({ id, aggregatetype, aggregateid, sequence, type, payload }) => [
        id,
        aggregatetype,
        aggregateid,
        sequence,
        type,
        payload,
      ]),
    )
    // No other transaction has rows of these topics' keys: their numbers are locked.
    for (const [topic, ofTopic] of Map.groupBy(rows, ({ aggregatetype }) => aggregatetype)) {
      const keys = [...new Set(ofTopic.map(({ aggregateid }) => aggregateid))]
      packet.sql.push(
        `DELETE r FROM ${tables.router} AS r FORCE INDEX (PRIMARY) WHERE r.aggregatetype = ? AND r.aggregateid IN (?)`,
      )
      packet.parameters.push(topic, keys)
    }
    return packet
  }
  add(
    `INSERT INTO ${tables.outbox} (partition_key, sequence, event_id, bytes, payload, topic) VALUES ?`,
    numbered.map(({ event, sequence, payload }) => [
      event.partitionKey,
      sequence,
      event.id.slice(0, 255),
      Buffer.byteLength(payload),
      payload,
      event.topic ?? null,
    ]),
  )
  return packet
}

function toRow(operation: SetOperation): Row {
  const { value, isBinary } = toColumns(operation.value)
  return [
    operation.key,
    value,
    isBinary,
    randomUUID(),
    operation.ttlSeconds === undefined ? noExpiry : expiryIn(operation.ttlSeconds),
  ]
}
