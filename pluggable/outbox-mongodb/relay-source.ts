import { randomUUID } from 'node:crypto'
import type { ObjectId } from 'mongodb'
import type { Logger } from '#lib/logger.ts'
import type { Backlog } from '../outbox/metrics.ts'
import { askEveryMs, presentMs, type RelaySource } from '../outbox/relay-source.ts'
import { watchOutbox } from './change-stream.ts'
import type { Collections } from './schema.ts'

const maxCounted = 100_000

/** Positions up to `end`, which is `length` after the last one that was read. */
type Window = { length: number; end: number }

/**
 * Creates what the relay needs of the outbox collection. The lease depends only on the database's
 * clock.
 */
export function createMongodbRelaySource(
  { outbox, lease }: Collections,
  now: () => Date,
  log: Logger,
): RelaySource<ObjectId> & { backlog(): Promise<Backlog> } {
  const owner = `${process.pid}-${randomUUID()}`
  /**
   * Where to read while many rows wait. SecantusDB reads a whole collection before it limits (50 ms
   * with 100,000 rows), but no more than a range of an index.
   */
  let window: Window | undefined

  /**
   * Reads from the lowest position, in one snapshot: it has all of a key's earlier rows, which have
   * lower positions, or the later ones are missing too. A plain cursor may pass the position of a
   * row that is committed a moment later and still see that key's next one.
   */
  async function oldest({ rows, bytes }: { rows: number; bytes: number }) {
    const cursor = outbox.find(window ? { position: { $lte: window.end } } : {}, {
      sort: { position: 1 },
      limit: rows,
      batchSize: rows,
      readConcern: { level: 'snapshot' },
    })
    await cursor.hasNext()
    // Servers send at most 16 MiB at once, more than is wanted.
    const documents = cursor.readBufferedDocuments()
    await cursor.close()
    let sum = 0
    const end = documents.findIndex((each, index) => (sum += each.bytes) > bytes && index > 0)
    return { documents: end < 0 ? documents : documents.slice(0, end), isFull: end >= 0 || documents.length === rows }
  }

  /** Returns the window of the next read; undefined if all that waits is a few rows. */
  function nextWindow(
    former: Window | undefined,
    { isFull, from, upTo }: { isFull: boolean; from: number; upTo: number },
  ): Window | undefined {
    if (!isFull && (!former || former.end >= now().getTime())) return undefined
    const length = isFull ? 2 * (upTo - from + 1) : 2 * (former?.length ?? 1)
    return { length, end: upTo + length }
  }

  let askedAt = -Infinity
  const inMs = (amount: number) => ({ $dateAdd: { startDate: '$$NOW', unit: 'millisecond', amount } })

  return {
    async acquireLease(leaseMs) {
      const taken = await lease.findOneAndUpdate(
        { _id: 'relay', $expr: { $lte: ['$expires', '$$NOW'] } },
        [{ $set: { owner, token: { $add: ['$token', 1] }, expires: inMs(leaseMs) } }],
        { returnDocument: 'after' },
      )
      if (taken) return { token: taken.token }
      if (performance.now() - askedAt > askEveryMs) {
        await lease.updateOne({ _id: 'relay' }, [{ $set: { asked: '$$NOW' } }])
        askedAt = performance.now()
      }
      return undefined
    },

    async renewLease({ token }, leaseMs) {
      const renewed = await lease.findOneAndUpdate({ _id: 'relay', token }, [{ $set: { expires: inMs(leaseMs) } }], {
        returnDocument: 'after',
      })
      if (!renewed) return undefined
      const { asked, expires } = renewed
      return { isShared: asked !== undefined && asked.getTime() > expires.getTime() - leaseMs - presentMs }
    },

    async releaseLease({ token }) {
      await lease.updateOne({ _id: 'relay', token }, { $set: { expires: new Date(0) } })
    },

    async read(limits) {
      let { documents, isFull } = await oldest(limits)
      if (documents.length === 0 && window) {
        window = undefined
        ;({ documents, isFull } = await oldest(limits))
      }
      const [first, last] = [documents[0], documents.at(-1)]
      if (!first || !last) return []
      window = nextWindow(window, { isFull, from: first.position, upTo: last.position })
      return documents.map(({ _id, partitionKey, topic, sequence, payload, created }) => ({
        position: _id,
        partitionKey,
        ...(topic === undefined ? {} : { topic }),
        sequence,
        payload: Buffer.from(payload.value()),
        ageMs: now().getTime() - created.getTime(),
      }))
    },

    async remove(rows) {
      // Without a look at the lease: the rows were acknowledged, so deleting them is right,
      // whichever process leads by now. A transaction with the lease would be stricter, but a
      // leader killed in the middle would leave the lease locked until the server gives up on the
      // transaction, after a minute by default. If all are gone already, another leads.
      const { deletedCount } = await outbox.deleteMany({ _id: { $in: rows.map(({ position }) => position) } })
      return deletedCount > 0
    },

    watch: () => watchOutbox(outbox, log),

    async backlog() {
      const rows = await outbox.countDocuments({}, { limit: maxCounted, maxTimeMS: 1_500 })
      const oldest = await outbox.findOne({}, { projection: { created: 1 } })
      return { rows, oldestAgeSeconds: oldest ? Math.max(0, (now().getTime() - oldest.created.getTime()) / 1_000) : 0 }
    },
  }
}
