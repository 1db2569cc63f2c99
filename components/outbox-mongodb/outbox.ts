import { randomUUID } from 'node:crypto'
import type { MongoClient, ObjectId } from 'mongodb'
import type { Backlog } from '../outbox/metrics.ts'
import type { OutboxRow, OutboxSource } from '../outbox/relay.ts'
import type { Collections } from './schema.ts'

const maxCounted = 100_000

/** How the relay reads and empties the outbox collection. The lease runs by the database's clock alone. */
export function createMongodbOutbox(
  client: MongoClient,
  { outbox, lease }: Collections,
  now: () => Date,
): OutboxSource<ObjectId> & { backlog(): Promise<Backlog> } {
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
      // Nearly all polls find nothing: one cheap question saves them the transaction.
      if ((await outbox.findOne({}, { projection: { _id: 1 } })) === null) return []
      const session = client.startSession()
      try {
        // A plain cursor may pass the place of a row that is committed a moment later and still see that key's next one.
        // One snapshot cannot: it has all of a key's earlier rows, or not the later ones either.
        session.startTransaction({ readConcern: { level: 'snapshot' } })
        const cursor = outbox.find({}, { session, sort: { position: 1, _id: 1 }, limit: limits.rows, batchSize: limits.rows })
        const rows: OutboxRow<ObjectId>[] = []
        let bytes = 0
        for await (const document of cursor) {
          bytes += document.bytes
          if (rows.length > 0 && bytes > limits.bytes) break
          rows.push({
            position: document._id,
            partitionKey: document.partitionKey,
            sequence: document.sequence,
            payload: Buffer.from(document.payload.value()),
          })
        }
        await session.commitTransaction()
        return rows
      } finally {
        session.endSession().catch(() => {})
      }
    },

    async remove(rows, { token }) {
      // Not one transaction with the lease, although that would be stricter: a leader that is killed in the middle of it
      // leaves the lease locked until the server gives the transaction up, a minute by default. Nor is it needed: the rows
      // were acknowledged, so deleting them is right whoever leads by now.
      if ((await lease.findOne({ _id: 'relay', token }, { projection: { _id: 1 } })) === null) return false
      await outbox.deleteMany({ _id: { $in: rows.map(({ position }) => position) } })
      return true
    },

    async backlog() {
      const rows = await outbox.countDocuments({}, { limit: maxCounted, maxTimeMS: 1_500 })
      const oldest = await outbox.findOne({}, { sort: { position: 1 }, projection: { created: 1 } })
      return { rows, oldestAgeSeconds: oldest ? Math.max(0, (now().getTime() - oldest.created.getTime()) / 1_000) : 0 }
    },
  }
}
