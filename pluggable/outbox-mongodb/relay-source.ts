import { randomUUID } from 'node:crypto'
import type { MongoClient, ObjectId } from 'mongodb'
import type { Logger } from '#lib/logger.ts'
import type { Backlog } from '../outbox/metrics.ts'
import type { RelaySource } from '../outbox/relay-source.ts'
import { watchOutbox } from './change-stream.ts'
import type { Collections } from './schema.ts'

const maxCounted = 100_000

/** Returns as many of the first documents as have at most `bytes` together, but at least one. */
function firstWithin<Sized extends { bytes: number }>(documents: Sized[], bytes: number): Sized[] {
  let sum = 0
  const end = documents.findIndex((each, index) => (sum += each.bytes) > bytes && index > 0)
  return end < 0 ? documents : documents.slice(0, end)
}

/**
 * Creates what the relay needs of the outbox collection. The lease depends only on the database's
 * clock.
 */
export function createMongodbRelaySource(
  client: MongoClient,
  { outbox, lease }: Collections,
  now: () => Date,
  log: Logger,
): RelaySource<ObjectId> & { backlog(): Promise<Backlog> } {
  const owner = `${process.pid}-${randomUUID()}`
  const inMs = (amount: number) => ({ $dateAdd: { startDate: '$$NOW', unit: 'millisecond', amount } })

  return {
    async acquireLease(leaseMs) {
      const taken = await lease.findOneAndUpdate(
        { _id: 'relay', $expr: { $lte: ['$expires', '$$NOW'] } },
        [{ $set: { owner, token: { $add: ['$token', 1] }, expires: inMs(leaseMs) } }],
        { returnDocument: 'after' },
      )
      return taken ? { token: taken.token } : undefined
    },

    async renewLease({ token }, leaseMs) {
      const result = await lease.updateOne({ _id: 'relay', token }, [{ $set: { expires: inMs(leaseMs) } }])
      return result.matchedCount === 1
    },

    async releaseLease({ token }) {
      await lease.updateOne({ _id: 'relay', token }, { $set: { expires: new Date(0) } })
    },

    async read(limits) {
      // A first look at the oldest rows, in no reliable order. Nearly all polls end here, and it
      // shows how many rows to request and up to which position. With a million rows waiting, a
      // server that sorts before it limits would sort them all.
      const candidates = await outbox
        .find({}, { projection: { _id: 0, position: 1, bytes: 1 }, limit: limits.rows, batchSize: limits.rows })
        .toArray()
      if (candidates.length === 0) return []
      const within = firstWithin(candidates, limits.bytes)
      const upTo = Math.max(...within.map(({ position }) => position))
      const session = client.startSession()
      try {
        // A plain cursor may pass the position of a row that is committed a moment later and still
        // see that key's next one. A snapshot cannot: it has all of a key's earlier rows, or the
        // later ones are missing too. Earlier rows have lower positions.
        session.startTransaction({ readConcern: { level: 'snapshot' } })
        const options = { session, sort: { position: 1 }, limit: within.length, batchSize: within.length } as const
        const documents = await outbox.find({ position: { $lte: upTo } }, options).toArray()
        await session.commitTransaction()
        return firstWithin(documents, limits.bytes).map(({ _id, partitionKey, sequence, payload, created }) => ({
          position: _id,
          partitionKey,
          sequence,
          payload: Buffer.from(payload.value()),
          ageMs: now().getTime() - created.getTime(),
        }))
      } finally {
        session.endSession().catch(() => {})
      }
    },

    async remove(rows, { token }) {
      // Not in one transaction with the lease, although that would be stricter: a leader killed in
      // the middle would leave the lease locked until the server gives up on the transaction, after
      // a minute by default. Nor is it needed: the rows were acknowledged, so deleting them is
      // right whichever process leads by now.
      if ((await lease.findOne({ _id: 'relay', token }, { projection: { _id: 1 } })) === null) return false
      await outbox.deleteMany({ _id: { $in: rows.map(({ position }) => position) } })
      return true
    },

    watch: () => watchOutbox(outbox, log),

    async backlog() {
      const rows = await outbox.countDocuments({}, { limit: maxCounted, maxTimeMS: 1_500 })
      const oldest = await outbox.findOne({}, { projection: { created: 1 } })
      return { rows, oldestAgeSeconds: oldest ? Math.max(0, (now().getTime() - oldest.created.getTime()) / 1_000) : 0 }
    },
  }
}
