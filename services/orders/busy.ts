import { unavailable } from '#lib/errors.ts'
import type { KeyRanges } from '#lib/key-ranges.ts'
import { queues } from './order-store.ts'

/** How long an answer of the database is believed. */
const freshMs = 200

export type Busy = ReturnType<typeof createBusy>

/**
 * Creates the back-pressure of orders: while the oldest order that waits for stock has waited
 * longer than `maxWaitMs`, no new ones are taken, so the queue cannot grow without bound and what
 * was taken is confirmed as quickly as ever. Orders that wait for their payment do not count: a
 * slow bank is no reason to turn shoppers away.
 */
export function createBusy(deps: {
  ranges: Pick<KeyRanges, 'nextDue'>
  now: () => Date
  stockTimeoutMs: number
  maxWaitMs: number
  /** 0 to 1, as Math.random. */
  random?: () => number
}) {
  const { ranges, now, stockTimeoutMs, maxWaitMs, random = Math.random } = deps
  let checkedAt = 0
  let waitedMs = 0
  let checking: Promise<void> | undefined

  async function check(): Promise<void> {
    const oldest = await ranges.nextDue(queues.PENDING)
    checkedAt = now().getTime()
    waitedMs = oldest ? checkedAt + stockTimeoutMs - Date.parse(oldest.at) : 0
  }

  return {
    /** Throws `unavailable` orders_busy if no more orders can be taken now. */
    async requireRoom(): Promise<void> {
      if (now().getTime() - checkedAt >= freshMs) {
        checking ??= check().finally(() => {
          checking = undefined
        })
        // The first call waits. Later ones believe the last answer while the next one comes.
        if (checkedAt === 0) await checking
        else checking.catch(() => {})
      }
      if (shareRefused(waitedMs, maxWaitMs) > random())
        throw unavailable('orders_busy', 'too many orders are waiting; nothing was stored, try again in a moment')
    },
  }
}

/**
 * Returns the share of new orders to refuse, 0 to 1. It grows from half of the longest wait on: a
 * hard limit would let all callers in at once and turn all of them away at once.
 */
export const shareRefused = (waitedMs: number, maxWaitMs: number): number =>
  Math.min(1, Math.max(0, (2 * waitedMs) / maxWaitMs - 1))
