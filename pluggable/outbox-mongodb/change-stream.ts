import type { AggregationCursor, Collection } from 'mongodb'
import type { Logger } from '#lib/logger.ts'
import type { Watch } from '../outbox/relay-source.ts'
import type { OutboxDocument } from './schema.ts'

/** How often the server returns "nothing yet". Below the driver's socket timeout. */
const awaitMs = 1_000
/**
 * A stream that was not read for this long is discarded: reading all it has missed would only show
 * that something happened.
 */
const staleMs = 1_000
const retryMinMs = 250
const retryMaxMs = 30_000

/**
 * Watches the outbox with a change stream, as a hint that some process added rows. The stream is
 * read only while the relay is idle, so a thousand commits a second are a few batches, not a
 * thousand responses. Its contents do not matter, nor does what it misses: a broken stream is
 * reopened with growing delays, not resumed.
 */
export function watchOutbox(outbox: Collection<OutboxDocument>, log: Logger): Watch {
  let closed = false
  let cursor: AggregationCursor | undefined
  let readAt = 0
  let retryMs = retryMinMs
  let interrupt: (() => void) | undefined

  function discard(): void {
    // Not awaited: it waits for the outstanding response.
    cursor?.close().catch(() => {})
    cursor = undefined
  }

  async function open(): Promise<void> {
    // Not the driver's ChangeStream, which handles events one by one.
    const stream = [{ $changeStream: {} }, { $match: { operationType: 'insert' } }, { $project: { _id: 1 } }]
    cursor = outbox.aggregate(stream, { maxAwaitTimeMS: awaitMs })
    await cursor.tryNext()
  }

  /** Resolves at the next change, or at once if one may have been missed. */
  async function next(): Promise<void> {
    if (cursor && performance.now() - readAt > staleMs) discard()
    if (!cursor) return open()
    if (!(await cursor.hasNext())) throw new Error('the server ended the change stream')
    cursor.readBufferedDocuments()
    // Not reset on opening: a stream that breaks at once each time needs growing delays too.
    retryMs = retryMinMs
  }

  return {
    async changed() {
      while (!closed) {
        try {
          await next()
          readAt = performance.now()
          return
        } catch (error) {
          discard()
          if (closed) return
          log[retryMs === retryMinMs ? 'info' : 'debug'](
            { err: error },
            'no change stream; commits of other replicas are found by polling',
          )
          await new Promise<void>((resolve) => {
            const timer = setTimeout(resolve, retryMs)
            interrupt = () => {
              clearTimeout(timer)
              resolve()
            }
          })
          retryMs = Math.min(retryMs * 2, retryMaxMs)
        }
      }
    },
    close() {
      closed = true
      interrupt?.()
      discard()
    },
  }
}
