// Sustained load as shoppers make it, which notes every response that a shopper would complain
// about.
import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { api, placeOnce, shopper, terminal, uncached, type Answer, type Json, type Shopper } from '../shop-client.ts'

export type Report = {
  /** Requests that were sent, of all kinds. */
  requests: number
  /** One line for each request without the expected response: when, what, and what came instead. */
  failures: string[]
  /** Answers that too many orders wait: a promise to take this one later, and no failure. */
  pushedBack: number
  /** Ids of the orders that were accepted, each by the shopper who placed it. */
  orders: { who: Shopper; id: string }[]
}

/** What the shoppers do between two orders, so that load is steady instead of the most possible. */
const pauseMs = 150
/** How long an order that is pushed back is offered again before that counts as a failure. */
const patienceMs = 20_000

/**
 * Has shoppers place orders for one unit of `sku`, follow them, and read pages, until `stop`. They
 * retry nothing but an order that is pushed back: each request counts.
 */
export async function startShoppers(
  count: number,
  sku: string,
): Promise<{ report: Report; stop: () => Promise<Report> }> {
  const shoppers: Shopper[] = []
  while (shoppers.length < count) shoppers.push(await shopper())
  const report: Report = { requests: 0, failures: [], pushedBack: 0, orders: [] }
  const controller = new AbortController()

  async function counted(what: string, expected: number, send: () => Promise<Answer>): Promise<Json | undefined> {
    report.requests += 1
    const started = Date.now()
    const complain = (reason: string) => {
      const at = new Date(started).toISOString().slice(11, 23)
      report.failures.push(`${at} ${what} after ${Date.now() - started} ms: ${reason}`)
    }
    try {
      const { status, body } = await send()
      if (status === expected) return body
      complain(`${status} ${JSON.stringify(body)}`)
    } catch (error) {
      const { message, cause } = error as Error
      complain(`${message} ${cause instanceof Error ? cause.message : ''}`)
    }
    return undefined
  }

  /** Offers an order until it is let in, and returns the first other response. */
  async function placeInTurn(who: Shopper): Promise<Answer> {
    const key = randomUUID()
    const giveUpAt = Date.now() + patienceMs
    for (;;) {
      const answer = await placeOnce(who, sku, { key })
      if (answer.body['code'] !== 'orders_busy' || Date.now() > giveUpAt) return answer
      report.pushedBack += 1
      await delay(1_000 * Number(answer.headers.get('retry-after') ?? 1))
    }
  }

  async function shop(who: Shopper): Promise<void> {
    while (!controller.signal.aborted) {
      const placed = await counted('place an order', 202, () => placeInTurn(who))
      if (placed) {
        const id = placed['id'] as string
        report.orders.push({ who, id })
        await counted('read the order', 200, () => api(`/v1/orders/${id}`, { token: who.token }))
      }
      await counted('list products', 200, () => api('/v1/products?limit=5', { headers: uncached }))
      await counted('list orders', 200, () => api('/v1/orders?limit=5', { token: who.token }))
      await delay(pauseMs)
    }
  }

  const running = Promise.all(shoppers.map(shop))
  return {
    report,
    async stop() {
      controller.abort()
      await running
      return report
    },
  }
}

/** Waits until every accepted order has ended, and returns their states. */
export async function outcomes({ orders }: Report): Promise<Json[]> {
  const ended: Json[] = []
  for (const { who, id } of orders) ended.push(await terminal(who, id, 60_000))
  return ended
}
