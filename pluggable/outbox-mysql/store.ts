import type { RowDataPacket } from 'mysql2'
import type { Logger } from '#lib/logger.ts'
import { ComponentError } from '../host/errors.ts'
import { createSharedReads } from '../host/shared-reads.ts'
import type { Operation, StateStore, StoredValue } from '../host/state-store.ts'
import { splitEvents, type EventDefaults, type PendingEvent } from '../outbox/event.ts'
import {
  createGroupCommit,
  toTransaction,
  type GroupLimits,
  type Outcome,
  type Transaction,
} from '../outbox/group-commit.ts'
import { createCommit, isConflict } from './commit.ts'
import { isMysqlError, type Database } from './database.ts'
import { live, type Tables } from './schema.ts'
import { fromColumns } from './value.ts'

const maxAttempts = 6

export type MysqlStoreOptions = {
  database: Database
  tables: Tables
  events: EventDefaults
  groups: GroupLimits
  /** Called after a commit with events; undefined if no relay publishes them. */
  onEvents: (() => void) | undefined
  /** Set if Kafka Connect, not the relay, publishes events: to this topic. */
  routedTopic: string | undefined
  log: Logger
}

/**
 * Creates the state operations on MySQL; the relay's are in relay-source.ts. See StateStore for
 * what each one guarantees.
 */
export function createMysqlStore({
  database,
  tables,
  events: eventDefaults,
  groups,
  onEvents,
  routedTopic,
  log,
}: MysqlStoreOptions): Omit<StateStore, 'close'> {
  const commitOnce = createCommit(database, tables, routedTopic)
  const commit = createGroupCommit<Transaction>(
    (group) => retryingConflicts(group.length, () => commitOnce(group)),
    groups,
  )
  const write = (operations: Operation[], events: PendingEvent[]) => commit(toTransaction(operations, events))
  const get = createSharedReads(read)

  async function read(keys: string[]): Promise<Map<string, StoredValue>> {
    const columns = 'id, value, isbinary, eTag, UNIX_TIMESTAMP(expiredate) AS expires'
    const rows = await database.use((session) =>
      session.plain(`SELECT ${columns} FROM ${tables.state} WHERE id IN (?) AND ${live}`, [keys]),
    )
    return new Map(rows.map((row) => [(row['id'] as Buffer).toString('utf8'), toStored(row)]))
  }

  function toStored(row: RowDataPacket): StoredValue {
    const expires: unknown = row['expires']
    return {
      value: fromColumns(String(row['value']), Number(row['isbinary']) === 1),
      etag: String(row['eTag']),
      ...(expires === null ? {} : { expiresAt: new Date(Number(expires) * 1_000) }),
    }
  }

  /**
   * Deadlocks and lock waits are not the caller's fault: they are retried a few times, then
   * reported. A group is split up first.
   */
  async function retryingConflicts(size: number, work: () => Promise<Outcome[]>): Promise<Outcome[]> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await work()
      } catch (error) {
        if (!isConflict(error)) throw error
        const waited = isMysqlError(error) && error.code === 'ER_LOCK_WAIT_TIMEOUT'
        if (size > 1 && (waited || attempt === 2)) throw error
        if (attempt === maxAttempts || (waited && attempt >= 2)) {
          return [
            new ComponentError('STORE_UNAVAILABLE', `too many concurrent writers (${(error as Error).message})`, {
              cause: error,
            }),
          ]
        }
        log.debug({ attempt, transactions: size }, 'write conflict, retrying')
        await new Promise((resolve) => setTimeout(resolve, Math.random() * 5 * 2 ** attempt))
      }
    }
  }

  return {
    features: ['ETAG', 'TRANSACTIONAL', 'TTL'],
    get,
    bulkGet: async (keys) => (keys.length === 0 ? new Map<string, StoredValue>() : read(keys)),
    set: (operation) => write([operation], []),
    delete: (operation) => write([operation], []),

    async transact(operations, metadata) {
      const { state, events } = splitEvents(operations, metadata, eventDefaults)
      if (events.length > 0 && !onEvents) {
        throw new ComponentError(
          'EVENT_REFUSED',
          'this component has no relay; set relayBrokers and relayTopic in its metadata',
        )
      }
      if (operations.length === 0) return
      try {
        await write(state, events)
      } catch (error) {
        // It may have been committed, and nobody else would tell the relay.
        if (events.length > 0 && error instanceof ComponentError && error.code === 'COMMIT_UNKNOWN') onEvents?.()
        throw error
      }
      if (events.length > 0) onEvents?.()
    },
  }
}
