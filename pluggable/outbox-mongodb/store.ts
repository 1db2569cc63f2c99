import { BSON, type Db, type Filter, type MongoClient } from 'mongodb'
import type { Logger } from '#lib/logger.ts'
import { withDeadline } from '../host/deadline.ts'
import { ComponentError } from '../host/errors.ts'
import { explain, isDuplicateKey } from '../host/mongodb.ts'
import { createSharedReads } from '../host/shared-reads.ts'
import type { DeleteOperation, SetOperation, StateStore, StoredValue } from '../host/state-store.ts'
import { etagMismatch } from '../outbox/effects.ts'
import { splitEvents, type EventDefaults } from '../outbox/event.ts'
import {
  createGroupCommit,
  toTransaction,
  type GroupLimits,
  type Outcome,
  type Transaction,
} from '../outbox/group-commit.ts'
import { createCommit, isConflict, toFields } from './commit.ts'
import { live } from './expiry.ts'
import type { OpenSessions } from './open-sessions.ts'
import type { Collections, StateDocument } from './schema.ts'
import { decodeNonUtf8, fromBson } from './value.ts'

const retryForMs = 2_000
const responseMs = 2_000

export type MongodbStoreOptions = {
  client: MongoClient
  db: Db
  sessions: OpenSessions
  collections: Collections
  /** The database server's clock. */
  now: () => Date
  events: EventDefaults
  groups: GroupLimits
  /** Called after a commit with events; undefined if no relay publishes them. */
  onEvents: (() => void) | undefined
  /** Set if Kafka Connect, not the relay, publishes events: to this topic. */
  routedTopic: string | undefined
  log: Logger
}

/**
 * Creates the state operations on MongoDB; the relay's are in relay-source.ts. See StateStore for
 * what each one guarantees.
 */
export function createMongodbStore(options: MongodbStoreOptions): Omit<StateStore, 'close'> {
  const { collections, now, events: eventDefaults, onEvents, log } = options
  const { state } = collections
  const commitOnce = createCommit(options)
  const commit = createGroupCommit<Transaction>(
    (group) => retryingConflicts(group.length, () => commitOnce(group)),
    options.groups,
  )
  const get = createSharedReads((keys) => explained(read(keys)))

  function toStored(document: StateDocument): StoredValue {
    return {
      value: fromBson(document.value),
      etag: document._etag,
      ...(document._ttl ? { expiresAt: document._ttl } : {}),
    }
  }

  // A single document needs no transaction.
  async function write(operation: SetOperation): Promise<void> {
    const update = { $set: toFields(operation, now) }
    const { key } = operation
    if (operation.etag !== undefined) {
      const result = await state.updateOne({ _id: key, _etag: operation.etag, ...live(now()) }, update)
      if (result.matchedCount === 0) throw etagMismatch(key, 'does not have that etag')
    } else if (operation.firstWrite) {
      // Matches only an expired document; a live one makes the upsert's insert fail on its _id.
      await state.updateOne({ _id: key, _ttl: { $lte: now() } }, update, { upsert: true }).catch((error: unknown) => {
        throw isDuplicateKey(error) ? etagMismatch(key, 'already exists') : error
      })
    } else {
      await state.updateOne({ _id: key }, update, { upsert: true })
    }
  }

  async function remove(operation: DeleteOperation): Promise<void> {
    if (operation.etag === undefined) {
      await state.deleteOne({ _id: operation.key })
      return
    }
    const result = await state.deleteOne({ _id: operation.key, _etag: operation.etag, ...live(now()) })
    if (result.deletedCount === 0) throw etagMismatch(operation.key, 'does not have that etag')
  }

  /**
   * Write conflicts are not the caller's fault: they are retried for a while, then reported. A
   * group is split up first.
   */
  async function retryingConflicts(size: number, work: () => Promise<Outcome[]>): Promise<Outcome[]> {
    const end = Date.now() + retryForMs
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await work()
      } catch (error) {
        if (!isConflict(error)) throw explain(error)
        if (size > 1 && attempt === 2) throw error
        if (Date.now() > end) {
          return [
            new ComponentError('STORE_UNAVAILABLE', `too many concurrent writers (${(error as Error).message})`, {
              cause: error,
            }),
          ]
        }
        log.debug({ attempt, transactions: size }, 'write conflict, retrying')
        // Capped, not ever longer: if another component writes the same keys without a pause, the
        // gaps between its writes are short.
        await new Promise((resolve) => setTimeout(resolve, Math.random() * Math.min(20, 4 * 2 ** attempt)))
      }
    }
  }

  async function single(work: () => Promise<void>): Promise<void> {
    const [error] = await explained(retryingConflicts(1, () => work().then(() => [undefined])))
    if (error) throw error
  }

  async function explained<T>(work: Promise<T>): Promise<T> {
    // The driver retries a failed call: its own limits add up to more than callers are promised.
    const late = () =>
      new ComponentError('STORE_UNAVAILABLE', `MongoDB does not respond (no response within ${responseMs} ms)`)
    return withDeadline(work, responseMs, late).catch((error: unknown) => {
      throw explain(error)
    })
  }

  async function find(filter: Filter<StateDocument>): Promise<StateDocument[]> {
    try {
      return await state.find(filter).toArray()
    } catch (error) {
      if (!(error instanceof BSON.BSONError)) throw error
      const raw = (await state.find(filter, { raw: true }).toArray()) as unknown as Uint8Array[]
      return raw.map((bytes) => decodeNonUtf8(bytes) as StateDocument)
    }
  }

  async function read(keys: string[]): Promise<Map<string, StoredValue>> {
    const [only] = keys
    const found = await find({ _id: keys.length === 1 && only !== undefined ? only : { $in: keys } })
    const readAt = now()
    return new Map(
      found.filter(({ _ttl }) => !_ttl || _ttl > readAt).map((document) => [document._id, toStored(document)]),
    )
  }

  return {
    features: ['ETAG', 'TRANSACTIONAL', 'TTL'],
    get,
    bulkGet: (keys) => explained(read(keys)),
    set: (operation) => single(() => write(operation)),
    delete: (operation) => single(() => remove(operation)),

    async transact(operations, metadata) {
      const { state: writes, events } = splitEvents(operations, metadata, eventDefaults)
      if (events.length > 0 && !onEvents) {
        throw new ComponentError(
          'EVENT_REFUSED',
          'this component has no relay; set relayBrokers and relayTopic in its metadata',
        )
      }
      if (operations.length === 0) return
      try {
        await commit(toTransaction(writes, events))
      } catch (error) {
        // It may have been committed, and nobody else would tell the relay.
        if (events.length > 0 && error instanceof ComponentError && error.code === 'COMMIT_UNKNOWN') onEvents?.()
        throw error
      }
      if (events.length > 0) onEvents?.()
    },
  }
}
