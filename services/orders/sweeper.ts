import type { KeyRanges } from '#lib/key-ranges.ts'
import type { Logger } from '#lib/logger.ts'
import { queues, type OrderStore } from './order-store.ts'

const pauseMs = 1_000
const rowsPerSweep = 200

/**
 * Starts moving orders on whose deadline has passed. Every replica sweeps: the first one's commit
 * removes the due row and changes the order, and the etag makes another's decide again and find
 * nothing to do. Returns a function that stops it.
 */
export function startSweeper(deps: { store: OrderStore; ranges: KeyRanges; log: Logger }): () => void {
  const { store, ranges, log } = deps
  let timer: NodeJS.Timeout | undefined
  let stopped = false

  async function sweep(): Promise<void> {
    for (const queue of Object.values(queues)) {
      const rows = await ranges.due(queue, rowsPerSweep)
      const outcomes = await Promise.allSettled(
        rows.map(async (row) => {
          const decision = await store.expire(row)
          if (decision?.outcome === 'changed')
            log.warn(
              { orderId: row.id, status: decision.order.status, reason: decision.order.reason },
              'order timed out',
            )
        }),
      )
      const failed = outcomes.find((outcome) => outcome.status === 'rejected')
      if (failed) throw failed.reason
    }
  }

  function next(): void {
    if (stopped) return
    timer = setTimeout(() => {
      sweep()
        .catch((err: unknown) => log.warn({ err }, 'orders past their deadline could not be moved on; trying again'))
        .finally(next)
    }, pauseMs)
  }
  next()
  return () => {
    stopped = true
    clearTimeout(timer)
  }
}
