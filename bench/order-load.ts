// Loads of orders, counted by what becomes CONFIRMED and not by what is answered.
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { poll } from '../platform/poll.ts'
import { summary, type Summary } from './load.ts'
import type { Outcomes } from './order-outcomes.ts'
import type { ShopApi } from '../platform/testing/shop-api.ts'

export type Shopping = {
  api: ShopApi
  outcomes: Outcomes
  /** One token for each caller at least. */
  shoppers: string[]
  /** The lines of the next order. */
  lines: () => { sku: string; quantity: number }[]
}

export type OrderRate = {
  callers: number
  /** Whether each caller waits until its order is terminal, or only for the response. */
  waits: boolean
  /** Orders were started at this rate, however long each took, instead of by callers. */
  startedPerSecond?: number
  confirmedPerSecond: number
  /** All that were accepted, before and in the window. */
  orders: number
  /** Answers 202 a second. */
  placedPerSecond: number
  /** From before the request to the arrival of order-confirmed, of orders placed in the window. */
  latency: Summary
  /** The response alone. */
  response: Summary
  /** Answers 503 and 429, by code: callers waited as Retry-After says, and asked again. */
  pushedBack: Record<string, number>
  /** Any other answer than 202, 429 and 503, or none, by status and code. */
  failures: Record<string, number>
  cancelled: number
  /** Orders accepted and not terminal at the end of the window. */
  backlog: number
  /** The backlog is no more than a second's work. */
  sustained: boolean
  /** How long the backlog took to be worked off. */
  drainMs: number
  /** The share of all cores that programs had that are no part of this. */
  others?: number
}

const drainTimeoutMs = 300_000
/** The shop takes no more orders for now. */
const busyCode = 'orders_busy'

export const total = (counts: Record<string, number>): number =>
  Object.values(counts).reduce((sum, count) => sum + count, 0)

/**
 * Places orders with `callers` at once for `ms` after an unmeasured start of `warmUpMs`, then waits
 * until all are terminal. A caller that is told to come back later does.
 * @param options.waits each caller waits until its order is terminal before it places another
 * @param options.perSecond start orders at this rate instead, however long each takes
 * @throws Error when the backlog is not worked off within 5 minutes
 */
export async function orderLoad(
  shopping: Shopping,
  { callers, ms, warmUpMs, waits = false }: { callers: number; ms: number; warmUpMs: number; waits?: boolean },
): Promise<OrderRate> {
  const load = createLoad(shopping)
  const measured = load.window(warmUpMs, ms)
  await Promise.all(
    Array.from({ length: callers }, async (_, caller) => {
      while (performance.now() < measured.end) {
        const orderId = await load.place(caller, measured.end)
        if (orderId !== undefined && waits)
          await Promise.race([shopping.outcomes.terminal(orderId), sleep(measured.end - performance.now())])
      }
    }),
  )
  return { callers, waits, ...(await load.result(measured)) }
}

/** The same with orders that start at a fixed rate, however long each takes. */
export async function openOrderLoad(
  shopping: Shopping,
  { perSecond, ms, warmUpMs }: { perSecond: number; ms: number; warmUpMs: number },
): Promise<OrderRate> {
  const load = createLoad(shopping)
  const measured = load.window(warmUpMs, ms)
  const began = performance.now()
  const placed: Promise<unknown>[] = []
  for (let n = 0; performance.now() < measured.end; n += 1) {
    const wait = began + (n * 1_000) / perSecond - performance.now()
    if (wait > 0) await sleep(wait)
    placed.push(load.place(n % shopping.shoppers.length, measured.end))
  }
  await Promise.all(placed)
  return { callers: 0, waits: false, startedPerSecond: perSecond, ...(await load.result(measured)) }
}

function createLoad({ api, outcomes, shoppers, lines }: Shopping) {
  type Placed = { orderId: string; began: number; answered: number }
  const accepted: Placed[] = []
  const pushedBack: { at: number; reason: string }[] = []
  const failures: { at: number; reason: string }[] = []

  /**
   * Places one order. What is answered with 503 or 429 is repeated with its key when Retry-After
   * says so, until `end`. Returns the order's id; undefined when there is none.
   */
  async function place(caller: number, end: number): Promise<string | undefined> {
    const token = shoppers[caller % shoppers.length]!
    const key = randomUUID()
    const body = { lines: lines(), payment: { method: 'pm_card_visa' } }
    let began = performance.now()
    while (performance.now() < end) {
      try {
        const answer = await api.send('POST', '/v1/orders', { token, headers: { 'idempotency-key': key }, body })
        const answered = performance.now()
        if (answer.status === 202) {
          const { id: orderId } = JSON.parse(answer.body) as { id: string }
          accepted.push({ orderId, began, answered })
          return orderId
        }
        const code = /"code":"(\w+)"/.exec(answer.body)?.[1] ?? ''
        if (answer.status !== 503 && answer.status !== 429) {
          failures.push({ at: answered, reason: `${answer.status} ${code}` })
          return undefined
        }
        pushedBack.push({ at: answered, reason: code })
        await sleep(Math.max(0, Math.min(answer.retryAfterMs || 1_000, end - performance.now())))
        // The order was not begun: its time starts when it is accepted. Else it may be under way.
        if (code === busyCode) began = performance.now()
      } catch (error) {
        failures.push({ at: performance.now(), reason: (error as Error).message })
        return undefined
      }
    }
    return undefined
  }

  const isTerminal = ({ orderId }: Placed) => outcomes.confirmed.has(orderId) || outcomes.cancelled.has(orderId)

  return {
    place,
    window: (warmUpMs: number, ms: number) => {
      const start = performance.now() + warmUpMs
      return { start, end: start + ms }
    },

    async result({
      start,
      end,
    }: {
      start: number
      end: number
    }): Promise<Omit<OrderRate, 'callers' | 'waits' | 'startedPerSecond' | 'others'>> {
      const stopped = performance.now()
      await poll(`${accepted.length} orders are CONFIRMED or CANCELLED`, () => accepted.every(isTerminal), {
        timeoutMs: drainTimeoutMs,
      })
      const inWindow = (at: number | undefined) => at !== undefined && at >= start && at < end
      const endedAt = ({ orderId }: Placed) => outcomes.confirmed.get(orderId) ?? outcomes.cancelled.get(orderId)!
      const seconds = (end - start) / 1_000
      const confirmedPerSecond =
        accepted.filter(({ orderId }) => inWindow(outcomes.confirmed.get(orderId))).length / seconds
      const placedInWindow = accepted.filter(({ answered }) => inWindow(answered))
      const backlog = accepted.filter((placed) => placed.answered < end && endedAt(placed) >= end).length
      const counted = (all: typeof failures) =>
        Object.fromEntries(
          [
            ...Map.groupBy(
              all.filter(({ at }) => inWindow(at)),
              ({ reason }) => reason,
            ),
          ].map(([reason, found]): [string, number] => [reason, found.length]),
        )
      const last = Math.max(stopped, ...accepted.map(endedAt))
      return {
        confirmedPerSecond,
        orders: accepted.length,
        placedPerSecond: placedInWindow.length / seconds,
        latency: summary(
          placedInWindow
            .filter(({ orderId }) => outcomes.confirmed.has(orderId))
            .map(({ orderId, began }) => outcomes.confirmed.get(orderId)! - began),
        ),
        response: summary(placedInWindow.map(({ began, answered }) => answered - began)),
        pushedBack: counted(pushedBack),
        failures: counted(failures),
        cancelled: placedInWindow.filter(({ orderId }) => outcomes.cancelled.has(orderId)).length,
        backlog,
        sustained: backlog <= confirmedPerSecond,
        drainMs: last - stopped,
      }
    },
  }
}
