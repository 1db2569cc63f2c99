import { randomUUID } from 'node:crypto'
import { Binary, BSON, MongoError, type ClientSession, type Filter, type MongoClient } from 'mongodb'
import type { Logger } from 'pino'
import { withDeadline } from '../host/deadline.ts'
import { ComponentError } from '../host/errors.ts'
import { explain, isAway, isDuplicateKey } from '../host/mongodb.ts'
import type { DeleteOperation, Operation, SetOperation, StateStore, StoredValue } from '../host/state-store.ts'
import { byPartitionKey, inLockOrder, splitEvents, type EventDefaults, type PendingEvent } from '../outbox/event.ts'
import { toRouterRow } from '../outbox/event-router.ts'
import { passToRouter } from './event-router.ts'
import { createKeyedLock } from './keyed-lock.ts'
import type { OpenSessions } from './open-sessions.ts'
import type { Collections, StateDocument } from './schema.ts'
import { decodeUntextual, fromBson, toBson } from './value.ts'

const maxAttempts = 12
const retryForMs = 2_000
const commitForMs = 2_000
const readMs = 2_000

export type MongodbStoreOptions = {
  client: MongoClient
  sessions: OpenSessions
  collections: Collections
  /** The database server's clock. */
  now: () => Date
  events: EventDefaults
  /** Called after a transaction with events has committed; undefined where there is no relay to publish them. */
  onEvents: (() => void) | undefined
  /** Given where events are not for the relay but for Kafka Connect, which sends them to this topic. */
  routedTopic: string | undefined
  log: Logger
}

const mismatch = (key: string, expected: string): ComponentError => new ComponentError('ETAG_MISMATCH', `key "${key}" ${expected}`)

const hasLabel = (error: unknown, label: string): boolean => error instanceof MongoError && error.hasErrorLabel(label)

/** The state operations on MongoDB; the relay's are in outbox.ts. See StateStore for what each one promises. */
export function createMongodbStore({
  client,
  sessions,
  collections,
  now,
  events: eventDefaults,
  onEvents,
  routedTopic,
  log,
}: MongodbStoreOptions): Omit<StateStore, 'close'> {
  const { state, outbox, sequence } = collections
  const locked = createKeyedLock()
  const live = () => ({ $or: [{ _ttl: null }, { _ttl: { $gt: now() } }] })

  function toStored(document: StateDocument): StoredValue {
    return { value: fromBson(document.value), etag: document._etag, ...(document._ttl ? { expiresAt: document._ttl } : {}) }
  }

  async function write(operation: SetOperation, session?: ClientSession): Promise<void> {
    const ttl = operation.ttlSeconds === undefined ? null : new Date(now().getTime() + operation.ttlSeconds * 1_000)
    const update = { $set: { value: toBson(operation.value), _etag: randomUUID() as string, _ttl: ttl } }
    const options = session ? { session } : {}
    const { key } = operation
    if (operation.etag !== undefined) {
      const result = await state.updateOne({ _id: key, _etag: operation.etag, ...live() }, update, options)
      if (result.matchedCount === 0) throw mismatch(key, 'does not have that etag')
    } else if (operation.firstWrite) {
      // Matches an expired document only; where a live one is, the upsert's insert meets its _id.
      await state.updateOne({ _id: key, _ttl: { $lte: now() } }, update, { ...options, upsert: true }).catch((error: unknown) => {
        throw isDuplicateKey(error) ? mismatch(key, 'exists already') : error
      })
    } else {
      await state.updateOne({ _id: key }, update, { ...options, upsert: true })
    }
  }

  async function remove(operation: DeleteOperation, session?: ClientSession): Promise<void> {
    const options = session ? { session } : {}
    if (operation.etag === undefined) {
      await state.deleteOne({ _id: operation.key }, options)
      return
    }
    const result = await state.deleteOne({ _id: operation.key, _etag: operation.etag, ...live() }, options)
    if (result.deletedCount === 0) throw mismatch(operation.key, 'does not have that etag')
  }

  const apply = (operation: Operation, session?: ClientSession) => (operation.kind === 'set' ? write(operation, session) : remove(operation, session))

  /**
   * Numbers the events and adds them to the outbox. Two transactions that write one sequence document cannot both commit, so
   * numbers are given in commit order and one that was rolled back is given again.
   */
  async function addEvents(events: PendingEvent[], session: ClientSession): Promise<void> {
    for (const [partitionKey, group] of byPartitionKey(events)) {
      const count = group.length
      // `position` never falls within a key, even where components' clocks differ: it moves past the key's former one.
      const taken = await sequence.findOneAndUpdate(
        { _id: partitionKey },
        [
          {
            $set: {
              last: { $add: [{ $ifNull: ['$last', 0] }, count] },
              position: { $add: [{ $max: [now().getTime(), { $ifNull: ['$position', 0] }] }, count] },
            },
          },
        ],
        { session, upsert: true, returnDocument: 'after' },
      )
      if (!taken) throw new ComponentError('INTERNAL', 'no sequence document after an upsert')
      // One by one: the driver's bulk errors hide what became of the connection.
      for (const [index, event] of group.entries()) {
        const number = taken.last - count + index + 1
        if (routedTopic !== undefined) {
          await passToRouter(session, collections, [toRouterRow(event, number, routedTopic)])
          continue
        }
        const payload = event.encode(number)
        await outbox.insertOne(
          {
            partitionKey,
            sequence: number,
            position: taken.position - count + index + 1,
            bytes: payload.length,
            payload: new Binary(payload),
            created: now(),
          },
          { session },
        )
      }
    }
  }

  /** Commits; where the answer is lost, asks again, which is safe, and says COMMIT_UNKNOWN only when that does not help. */
  async function commit(session: ClientSession): Promise<void> {
    const end = Date.now() + commitForMs
    for (;;) {
      try {
        await session.commitTransaction()
        return
      } catch (error) {
        if (hasLabel(error, 'TransientTransactionError') && !hasLabel(error, 'UnknownTransactionCommitResult')) throw error
        if (hasLabel(error, 'UnknownTransactionCommitResult') && Date.now() < end && !isAway(error)) continue
        throw new ComponentError('COMMIT_UNKNOWN', 'the answer to the commit was lost; all of the transaction was done, or nothing', { cause: error })
      }
    }
  }

  async function attempt(operations: Operation[], events: PendingEvent[]): Promise<void> {
    const session = client.startSession()
    sessions.note(session)
    try {
      session.startTransaction({ readConcern: { level: 'snapshot' }, writeConcern: { w: 'majority', journal: true } })
      try {
        for (const operation of operations) await apply(operation, session)
        await addEvents(events, session)
      } catch (error) {
        if (!isAway(error)) await session.abortTransaction().catch(() => {})
        throw error
      }
      await commit(session)
    } finally {
      // Not awaited: ending a session may talk to a server that does not answer.
      session.endSession().catch(() => {})
    }
  }

  /** Write conflicts are no fault of the caller: tried again for a while, then reported. */
  async function retryingConflicts(work: () => Promise<void>): Promise<void> {
    const end = Date.now() + retryForMs
    for (let count = 1; ; count += 1) {
      try {
        return await work()
      } catch (error) {
        const conflict =
          !isAway(error) &&
          (hasLabel(error, 'TransientTransactionError') || (error instanceof MongoError && error.code === 112) || isDuplicateKey(error))
        if (!conflict) throw explain(error)
        if (count === maxAttempts || Date.now() > end) {
          throw new ComponentError('STORE_UNAVAILABLE', `too many writers at once (${(error as Error).message})`, { cause: error })
        }
        log.debug({ attempt: count }, 'write conflict, trying again')
        await new Promise((resolve) => setTimeout(resolve, Math.random() * Math.min(200, 4 * 2 ** count)))
      }
    }
  }

  async function explained<T>(work: Promise<T>): Promise<T> {
    // The driver asks twice where a read fails: its own limits add up to more than a caller is promised.
    const late = () => new ComponentError('STORE_UNAVAILABLE', `MongoDB does not answer (no answer within ${readMs} ms)`)
    return withDeadline(work, readMs, late).catch((error: unknown) => {
      throw explain(error)
    })
  }

  async function find(filter: Filter<StateDocument>): Promise<StateDocument[]> {
    try {
      return await state.find(filter).toArray()
    } catch (error) {
      if (!(error instanceof BSON.BSONError)) throw error
      const raw = (await state.find(filter, { raw: true }).toArray()) as unknown as Uint8Array[]
      return raw.map((bytes) => decodeUntextual(bytes) as StateDocument)
    }
  }

  const isLive = ({ _ttl }: StateDocument): boolean => !_ttl || _ttl > now()

  return {
    features: ['ETAG', 'TRANSACTIONAL', 'TTL'],

    async get(key) {
      const [found] = await explained(find({ _id: key }))
      return found && isLive(found) ? toStored(found) : undefined
    },

    async bulkGet(keys) {
      const found = await explained(find({ _id: { $in: keys } }))
      return new Map(found.filter(isLive).map((document) => [document._id, toStored(document)]))
    },

    set: (operation) => retryingConflicts(() => write(operation)),
    delete: (operation) => retryingConflicts(() => remove(operation)),

    async transact(operations, metadata) {
      const { state: writes, events } = splitEvents(operations, metadata, eventDefaults)
      if (events.length > 0 && !onEvents) {
        throw new ComponentError('EVENT_REFUSED', 'this component has no relay: set relayBrokers and relayTopic in its metadata')
      }
      if (operations.length === 0) return
      const ordered = inLockOrder(writes)
      const keys = [...writes.map(({ key }) => `state ${key}`), ...events.map(({ partitionKey }) => `event ${partitionKey}`)]
      await locked(keys, () => retryingConflicts(() => attempt(ordered, events)))
      if (events.length > 0) onEvents?.()
    },
  }
}
