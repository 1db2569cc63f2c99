import type { AggregationCursor, Collection } from 'mongodb'
import type { Logger } from 'pino'
import type { Watch } from '../outbox/relay.ts'
import type { OutboxDocument } from './schema.ts'

/** Below the driver's socket timeout: the server answers "nothing yet" this often. */
const awaitMs = 1_000
/**
 * What has not been asked for this long has missed too much: reading all of it would only tell that
 * something happened.
 */
const staleMs = 1_000
const retryMinMs = 250
const retryMaxMs = 30_000

/**
 * A change stream on the outbox, as a hint that rows were added by whatever process. It is only
 * read while the relay has nothing to do, so that a thousand commits a second are a few batches and
 * not a thousand answers. What is in it does not matter, nor does what it misses: a stream that
 * broke is opened anew, ever more slowly, and not resumed.
 */
export function watchOutbox(outbox: Collection<OutboxDocument>, log: Logger): Watch {
  let closed = false
  let cursor: AggregationCursor | undefined
  let answeredAt = 0
  let retryMs = retryMinMs
  let interrupt: (() => void) | undefined

  function discard(): void {
    // Not awaited: it waits for the answer that is outstanding.
    cursor?.close().catch(() => {})
    cursor = undefined
  }

  async function open(): Promise<void> {
    // By hand, since the driver's ChangeStream handles events one by one.
    const stream = [{ $changeStream: {} }, { $match: { operationType: 'insert' } }, { $project: { _id: 1 } }]
    cursor = outbox.aggregate(stream, { maxAwaitTimeMS: awaitMs })
    await cursor.tryNext()
  }

  /** Resolves at the next change; at once where one may have been missed. */
  async function next(): Promise<void> {
    if (cursor && performance.now() - answeredAt > staleMs) discard()
    if (!cursor) return open()
    if (!(await cursor.hasNext())) throw new Error('the server ended the change stream')
    cursor.readBufferedDocuments()
    // Not when it was opened: a stream that breaks at once each time is to be tried ever more
    // slowly too.
    retryMs = retryMinMs
  }

  return {
    async changed() {
      while (!closed) {
        try {
          await next()
          answeredAt = performance.now()
          return
        } catch (error) {
          discard()
          if (closed) return
          log[retryMs === retryMinMs ? 'info' : 'debug'](
            { err: error },
            "no change stream, other replicas' commits are found by polling",
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
