import { randomUUID } from 'node:crypto'
import {
  Binary,
  MongoError,
  MongoServerError,
  ObjectId,
  type ClientSession,
  type Db,
  type Document,
  type MongoClient,
} from 'mongodb'
import { ComponentError } from '../host/errors.ts'
import { isDuplicateKey, isUnavailable } from '../host/mongodb.ts'
import type { SetOperation } from '../host/state-store.ts'
import { conditionalKeys, effectsOf, type FoundRow } from '../outbox/effects.ts'
import { inLockOrder, numberEvents, type NumberedEvent, type PendingEvent } from '../outbox/event.ts'
import { toRouterRow, type RouterRow } from '../outbox/event-router.ts'
import type { Outcome, Transaction } from '../outbox/group-commit.ts'
import type { OpenSessions } from './open-sessions.ts'
import type { Collections, SequenceDocument, StateDocument } from './schema.ts'
import { toBson } from './value.ts'

const commitForMs = 2_000
const writeConflict = 112

const hasLabel = (error: unknown, label: string): boolean => error instanceof MongoError && error.hasErrorLabel(label)

/** True if another writer was first: the transaction was rolled back and can be retried. */
export const isConflict = (error: unknown): boolean =>
  !isUnavailable(error) &&
  (hasLabel(error, 'TransientTransactionError') ||
    (error instanceof MongoServerError && error.code === writeConflict) ||
    isDuplicateKey(error))

/**
 * Returns the fields of a state document for a write; it expires by the database server's clock.
 */
export function toFields(operation: SetOperation, now: () => Date): Omit<StateDocument, '_id'> {
  const ttl = operation.ttlSeconds === undefined ? null : new Date(now().getTime() + operation.ttlSeconds * 1_000)
  return { value: toBson(operation.value), _etag: randomUUID(), _ttl: ttl }
}

/**
 * Returns a function that commits a group of transactions, no two of which share a key, as one
 * database transaction.
 *
 * It reads the rows that conditions and numbers depend on from its snapshot. Two transactions that
 * then write the same document cannot both commit: conditions still hold at the commit, numbers are
 * given in commit order, and a number that was rolled back is given again.
 *
 * A transaction whose condition does not hold is left out and gets ETAG_MISMATCH as its outcome.
 * Throws if nothing was done: a conflict (see isConflict), or the driver's error for a server that
 * is down. Throws COMMIT_UNKNOWN if the response to the commit was lost.
 */
export function createCommit({
  client,
  db,
  sessions,
  collections: { state, sequence, outbox, router },
  now,
  routedTopic,
}: {
  client: MongoClient
  db: Db
  sessions: OpenSessions
  collections: Collections
  now: () => Date
  routedTopic: string | undefined
}): (group: Transaction[]) => Promise<Outcome[]> {
  return async (group) => {
    const session = client.startSession()
    sessions.record(session)
    try {
      session.startTransaction({ readConcern: { level: 'snapshot' }, writeConcern: { w: 'majority', journal: true } })
      let outcomes: Outcome[]
      try {
        outcomes = await write(group, session)
        if (outcomes.every(Boolean)) {
          await session.abortTransaction()
          return outcomes
        }
      } catch (error) {
        if (!isUnavailable(error)) await session.abortTransaction().catch(() => {})
        throw error
      }
      await commit(session)
      return outcomes
    } finally {
      // Not awaited: ending a session may wait for a server that does not respond.
      session.endSession().catch(() => {})
    }
  }

  async function write(group: Transaction[], session: ClientSession): Promise<Outcome[]> {
    const found = await findConditional(group, session)
    const effects = group.map(({ operations }) => effectsOf(operations, found))
    const accepted = group.flatMap((transaction, index) => {
      const each = effects[index]
      return each instanceof Map ? [{ ...transaction, effects: each }] : []
    })
    if (accepted.length > 0) {
      const events = accepted.flatMap((transaction) => transaction.events)
      await addEvents(events, session)
      await writeState(
        accepted.flatMap((transaction) => inLockOrder([...transaction.effects].map(([key, set]) => ({ key, set })))),
        conditionsOf(accepted, found),
        session,
      )
    }
    return effects.map((each) => (each instanceof ComponentError ? each : undefined))
  }

  async function findConditional(group: Transaction[], session: ClientSession): Promise<Map<string, FoundRow>> {
    const keys = conditionalKeys(group)
    if (keys.length === 0) return new Map()
    const rows = await state
      .find({ _id: { $in: keys } }, { session, projection: { _etag: 1, _ttl: 1 }, batchSize: keys.length })
      .toArray()
    const readAt = now()
    return new Map(rows.map(({ _id, _etag, _ttl }) => [_id, { etag: _etag, live: !_ttl || _ttl > readAt }]))
  }

  /** Numbers the events and adds them to the outbox. */
  async function addEvents(events: PendingEvent[], session: ClientSession): Promise<void> {
    if (events.length === 0) return
    const keys = [...new Set(events.map(({ numberKey }) => numberKey))].toSorted()
    const former = await sequence.find({ _id: { $in: keys } }, { session, batchSize: keys.length }).toArray()
    const last = new Map(former.map((document) => [document._id, document]))
    const { numbers, numbered } = numberEvents(events, new Map(former.map((document) => [document._id, document.last])))

    const created = now()
    // `position` never decreases within a key, even if components' clocks differ: it moves past the
    // key's previous one.
    const positionOf = (key: string, number: number) =>
      Math.max(created.getTime(), last.get(key)?.position ?? 0) + number - (last.get(key)?.last ?? 0)
    const counted = [...numbers].map(([_id, number]): SequenceDocument => ({
      _id,
      last: number,
      position: positionOf(_id, number),
    }))
    await insert(
      sequence.collectionName,
      counted.filter(({ _id }) => !last.has(_id)),
      session,
    )
    await update(
      sequence.collectionName,
      counted
        .filter(({ _id }) => last.has(_id))
        .map(({ _id, ...fields }) => ({ q: { _id, last: last.get(_id)?.last }, u: { $set: fields } })),
      session,
    )
    if (routedTopic !== undefined) return route(numbered, routedTopic, session)
    await insert(
      outbox.collectionName,
      numbered.map(({ event, sequence: number, payload }) => {
        const bytes = Buffer.from(payload)
        const { partitionKey, numberKey, topic } = event
        return {
          _id: new ObjectId(),
          partitionKey,
          ...(topic === undefined ? {} : { topic }),
          sequence: number,
          position: positionOf(numberKey, number),
          bytes: bytes.length,
          payload: new Binary(bytes),
          created,
        }
      }),
      session,
    )
  }

  /**
   * Inserts the events for Kafka Connect and deletes them at once: what remains is the insertion in
   * the change stream.
   */
  async function route(events: NumberedEvent[], topic: string, session: ClientSession): Promise<void> {
    for (const rows of withoutRepeats(events.map((each) => toRouterRow(each, topic)))) {
      const documents = rows.map(({ id, payload, ...rest }) => ({
        _id: id,
        ...rest,
        payload: new Binary(Buffer.from(payload)),
      }))
      await insert(router.collectionName, documents, session)
      await run(
        { delete: router.collectionName, deletes: documents.map(({ _id }) => ({ q: { _id }, limit: 1 })) },
        session,
      )
    }
  }

  async function writeState(
    effects: { key: string; set: SetOperation | undefined }[],
    conditions: Map<string, FoundRow | undefined>,
    session: ClientSession,
  ) {
    const isNew = (key: string) => conditions.has(key) && conditions.get(key) === undefined
    const versionOf = (key: string) => (conditions.get(key) ? { _etag: conditions.get(key)?.etag } : {})
    const sets = effects.flatMap(({ key, set }) => (set ? [{ key, fields: toFields(set, now) }] : []))
    await insert(
      state.collectionName,
      sets.filter(({ key }) => isNew(key)).map(({ key, fields }) => ({ _id: key, ...fields })),
      session,
    )
    await update(
      state.collectionName,
      sets
        .filter(({ key }) => !isNew(key))
        .map(({ key, fields }) => ({
          q: { _id: key, ...versionOf(key) },
          u: { $set: fields },
          upsert: !conditions.has(key),
        })),
      session,
    )
    const deletes = effects.filter(({ set }) => !set).map(({ key }) => ({ q: { _id: key }, limit: 1 }))
    if (deletes.length > 0) await run({ delete: state.collectionName, deletes }, session)
  }

  async function insert(collection: string, documents: Document[], session: ClientSession): Promise<void> {
    if (documents.length > 0) await run({ insert: collection, documents }, session)
  }

  async function update(
    collection: string,
    updates: { q: Document; u: Document; upsert?: boolean }[],
    session: ClientSession,
  ): Promise<void> {
    if (updates.length === 0) return
    const reply = await run({ update: collection, updates }, session)
    // The documents are as the snapshot showed them, or the server has failed one of the writers:
    // this check only backs that up.
    if (reply['n'] !== updates.length)
      throw new MongoServerError({ message: 'a document changed since it was read', code: writeConflict })
  }

  /** Runs a write command. Errors of the driver's bulk calls hide the state of the connection. */
  async function run(command: Document, session: ClientSession): Promise<Document> {
    const reply = await db.command({ ...command, ordered: true }, { session })
    const [failed] = (reply['writeErrors'] ?? []) as { errmsg: string; code: number }[]
    if (failed) throw new MongoServerError({ message: failed.errmsg, code: failed.code })
    return reply
  }
}

/** Splits rows into runs without a repeated id; there is nearly always only one. */
function withoutRepeats(rows: RouterRow[]): RouterRow[][] {
  const runs: RouterRow[][] = []
  let ids = new Set<string>()
  for (const row of rows) {
    if (runs.length === 0 || ids.has(row.id)) {
      runs.push([])
      ids = new Set()
    }
    ids.add(row.id)
    runs.at(-1)?.push(row)
  }
  return runs
}

/**
 * Returns the rows on which the transactions' conditions depend; undefined if a condition requires
 * that there is none.
 */
function conditionsOf(group: Transaction[], found: Map<string, FoundRow>): Map<string, FoundRow | undefined> {
  return new Map(conditionalKeys(group).map((key) => [key, found.get(key)] as const))
}

/**
 * Commits. If the response is lost it commits again, which is safe, and throws COMMIT_UNKNOWN only
 * if that does not help.
 */
async function commit(session: ClientSession): Promise<void> {
  const end = Date.now() + commitForMs
  for (;;) {
    try {
      await session.commitTransaction()
      return
    } catch (error) {
      if (hasLabel(error, 'TransientTransactionError') && !hasLabel(error, 'UnknownTransactionCommitResult'))
        throw error
      if (hasLabel(error, 'UnknownTransactionCommitResult') && Date.now() < end && !isUnavailable(error)) continue
      throw new ComponentError(
        'COMMIT_UNKNOWN',
        'the response to the commit was lost; all of the transaction was done, or nothing',
        { cause: error },
      )
    }
  }
}
