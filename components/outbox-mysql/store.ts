import { randomUUID } from 'node:crypto'
import type { Logger } from 'pino'
import type { RowDataPacket } from 'mysql2'
import { ComponentError } from '../host/errors.ts'
import type { DeleteOperation, Operation, SetOperation, StateStore, StoredValue } from '../host/state-store.ts'
import { byPartitionKey, inLockOrder, splitEvents, type EventDefaults, type PendingEvent } from '../outbox/event.ts'
import { toRouterRow } from '../outbox/event-router.ts'
import { isAway, isLockConflict, isMysqlError, type Database, type Parameter, type Session } from './database.ts'
import { passToRouter } from './event-router.ts'
import type { Tables } from './schema.ts'
import { fromColumns, toColumns } from './value.ts'

const live = '(expiredate IS NULL OR expiredate > CURRENT_TIMESTAMP)'
const maxAttempts = 6

export type MysqlStoreOptions = {
  database: Database
  tables: Tables
  events: EventDefaults
  /** Called after a transaction with events has committed; undefined where there is no relay to publish them. */
  onEvents: (() => void) | undefined
  /** Given where events are not for the relay but for Kafka Connect, which sends them to this topic. */
  routedTopic: string | undefined
  log: Logger
}

const mismatch = (key: string, expected: string): ComponentError => new ComponentError('ETAG_MISMATCH', `key "${key}" ${expected}`)

/** The state operations on MySQL; the relay's are in outbox.ts. See StateStore for what each one promises. */
export function createMysqlStore({ database, tables, events: eventDefaults, onEvents, routedTopic, log }: MysqlStoreOptions): Omit<StateStore, 'close'> {
  const columns = 'id, value, isbinary, eTag, UNIX_TIMESTAMP(expiredate) AS expires'

  function toStored(row: RowDataPacket): StoredValue {
    const expires: unknown = row['expires']
    return {
      value: fromColumns(String(row['value']), Number(row['isbinary']) === 1),
      etag: String(row['eTag']),
      ...(expires === null ? {} : { expiresAt: new Date(Number(expires) * 1_000) }),
    }
  }

  async function write(session: Session, operation: SetOperation): Promise<void> {
    const { value, isBinary } = toColumns(operation.value)
    const etag = randomUUID()
    const expires = operation.ttlSeconds === undefined ? 'NULL' : 'CURRENT_TIMESTAMP + INTERVAL ? SECOND'
    const ttl: Parameter[] = operation.ttlSeconds === undefined ? [] : [operation.ttlSeconds]
    const insert = `INSERT INTO ${tables.state} (id, value, isbinary, eTag, expiredate) VALUES (?, ?, ?, ?, ${expires})`
    const inserted: Parameter[] = [operation.key, value, isBinary, etag, ...ttl]

    if (operation.etag !== undefined) {
      const result = await session.write(
        `UPDATE ${tables.state} SET value = ?, isbinary = ?, eTag = ?, expiredate = ${expires} WHERE id = ? AND eTag = ? AND ${live}`,
        [value, isBinary, etag, ...ttl, operation.key, operation.etag],
      )
      if (result.affectedRows === 0) throw mismatch(operation.key, 'does not have that etag')
      return
    }
    if (operation.firstWrite) {
      // A row that has expired counts as absent. Assignments are made from left to right, so expiredate, which decides, is last.
      const over = (column: string) => `${column} = IF(expiredate <= CURRENT_TIMESTAMP, VALUES(${column}), ${column})`
      const result = await session.write(
        `${insert} ON DUPLICATE KEY UPDATE ${['value', 'isbinary', 'eTag', 'expiredate'].map(over).join(', ')}`,
        inserted,
      )
      if (result.affectedRows === 0) throw mismatch(operation.key, 'exists already')
      return
    }
    await session.write(
      `${insert} ON DUPLICATE KEY UPDATE value = VALUES(value), isbinary = VALUES(isbinary), eTag = VALUES(eTag), expiredate = VALUES(expiredate)`,
      inserted,
    )
  }

  async function remove(session: Session, operation: DeleteOperation): Promise<void> {
    if (operation.etag === undefined) {
      await session.write(`DELETE FROM ${tables.state} WHERE id = ?`, [operation.key])
      return
    }
    const result = await session.write(`DELETE FROM ${tables.state} WHERE id = ? AND eTag = ? AND ${live}`, [operation.key, operation.etag])
    if (result.affectedRows === 0) throw mismatch(operation.key, 'does not have that etag')
  }

  const apply = (session: Session, operation: Operation) => (operation.kind === 'set' ? write(session, operation) : remove(session, operation))

  /**
   * Numbers the events and adds them to the outbox. The row of the partition key stays locked until the commit, so numbers
   * are given in commit order and one that was rolled back is given again.
   */
  async function addEvents(session: Session, events: PendingEvent[]): Promise<void> {
    for (const [partitionKey, group] of byPartitionKey(events)) {
      const taken = await session.write(
        `INSERT INTO ${tables.sequence} (partition_key, last) VALUES (?, LAST_INSERT_ID(?)) ON DUPLICATE KEY UPDATE last = LAST_INSERT_ID(last + ?)`,
        [partitionKey, group.length, group.length],
      )
      let sequence = Number(taken.insertId) - group.length
      for (const event of group) {
        sequence += 1
        if (routedTopic !== undefined) {
          await passToRouter(session, tables, [toRouterRow(event, sequence, routedTopic)])
          continue
        }
        const payload = event.encode(sequence)
        await session.write(`INSERT INTO ${tables.outbox} (partition_key, sequence, event_id, bytes, payload) VALUES (?, ?, ?, ?, ?)`, [
          partitionKey,
          sequence,
          event.id.slice(0, 255),
          payload.length,
          payload,
        ])
      }
    }
  }

  /** One attempt; the connection is given back without an open transaction. */
  async function attempt(state: Operation[], events: PendingEvent[]): Promise<void> {
    await database.use(async (session) => {
      await session.plain('START TRANSACTION')
      try {
        for (const operation of state) await apply(session, operation)
        await addEvents(session, events)
      } catch (error) {
        // A server that does not answer would only keep the caller waiting once more; losing the connection rolls back too.
        if (!isAway(error)) await session.plain('ROLLBACK').catch(() => {})
        throw error
      }
      try {
        await session.plain('COMMIT')
      } catch (error) {
        // The server says so itself when a commit has failed by a conflict. Any other failure leaves it open.
        if (isLockConflict(error)) throw error
        throw new ComponentError('COMMIT_UNKNOWN', 'the answer to the commit was lost; all of the transaction was done, or nothing', { cause: error })
      }
    })
  }

  /** Deadlocks and lock waits are no fault of the caller: tried again a few times, then reported. */
  async function retryingConflicts(work: () => Promise<void>): Promise<void> {
    for (let count = 1; ; count += 1) {
      try {
        return await work()
      } catch (error) {
        if (!isLockConflict(error)) throw error
        if (count === maxAttempts || (isMysqlError(error) && error.code === 'ER_LOCK_WAIT_TIMEOUT' && count >= 2)) {
          throw new ComponentError('STORE_UNAVAILABLE', `too many writers at once (${(error as Error).message})`, { cause: error })
        }
        log.debug({ attempt: count }, 'write conflict, trying again')
        await new Promise((resolve) => setTimeout(resolve, Math.random() * 5 * 2 ** count))
      }
    }
  }

  return {
    features: ['ETAG', 'TRANSACTIONAL', 'TTL'],

    async get(key) {
      const [row] = await database.use((session) => session.rows(`SELECT ${columns} FROM ${tables.state} WHERE id = ? AND ${live}`, [key]))
      return row && toStored(row)
    },

    async bulkGet(keys) {
      if (keys.length === 0) return new Map()
      const rows = await database.use((session) => session.plain(`SELECT ${columns} FROM ${tables.state} WHERE id IN (?) AND ${live}`, [keys]))
      return new Map(rows.map((row) => [(row['id'] as Buffer).toString('utf8'), toStored(row)]))
    },

    set: (operation) => retryingConflicts(() => database.use((session) => write(session, operation))),
    delete: (operation) => retryingConflicts(() => database.use((session) => remove(session, operation))),

    async transact(operations, metadata) {
      const { state, events } = splitEvents(operations, metadata, eventDefaults)
      if (events.length > 0 && !onEvents) {
        throw new ComponentError('EVENT_REFUSED', 'this component has no relay: set relayBrokers and relayTopic in its metadata')
      }
      if (operations.length === 0) return
      const ordered = inLockOrder(state)
      await retryingConflicts(() => attempt(ordered, events))
      if (events.length > 0) onEvents?.()
    },
  }
}
