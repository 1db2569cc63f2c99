import { randomUUID } from 'node:crypto'
import { expect, inject, it } from 'vitest'
import { api, available, place, product, shopper, terminal, until, type Json, type Shopper } from './shop.ts'

it('an order is CONFIRMED, its stock sold and its money charged once', async () => {
  const sku = await product(5, { amount: 1999 })
  const who = await shopper()
  const placed = await place(who, sku, { quantity: 2 })
  expect(placed.status).toBe(202)
  expect(placed.headers.get('location')).toBe(`/v1/orders/${placed.body.id}`)
  expect(placed.body).toMatchObject({ total: { amount: 3998, currency: 'USD' } })

  expect(await terminal(who, placed.body.id)).toMatchObject({
    status: 'CONFIRMED',
    total: { amount: 3998, currency: 'USD' },
  })
  await until('2 of 5 units are gone', async () => ((await available(sku)) === 3 ? true : undefined), 2_000)
  const list = await api('/v1/orders?limit=10', { token: who.token })
  expect(list.body.items.map((o: Json) => o.id)).toEqual([placed.body.id])
})

it('a SKU with odd characters is sold like any other, and blocks nobody', async () => {
  const sku = await product(2, { suffix: ' 🏺||50%/é' })
  const who = await shopper()
  expect(await terminal(who, (await place(who, sku)).body.id)).toMatchObject({ status: 'CONFIRMED' })
  await until('one is left', async () => ((await available(sku)) === 1 ? true : undefined), 5_000)
})

it('a declined card ends in CANCELLED with the reason, and the stock is back', async () => {
  const sku = await product(3)
  const who = await shopper()
  const { body } = await place(who, sku, { quantity: 3, method: 'pm_card_chargeDeclinedInsufficientFunds' })
  expect(await terminal(who, body.id)).toMatchObject({ status: 'CANCELLED', reason: 'insufficient_funds' })
  await until('all 3 units are back', async () => ((await available(sku)) === 3 ? true : undefined), 5_000)
  const second = await place(who, sku, { quantity: 3 })
  expect(await terminal(who, second.body.id)).toMatchObject({ status: 'CONFIRMED' })
})

it('a sold-out product ends in CANCELLED with the reason', async () => {
  const sku = await product(1)
  const who = await shopper()
  const { body } = await place(who, sku, { quantity: 2 })
  expect(await terminal(who, body.id)).toMatchObject({ status: 'CANCELLED', reason: 'out_of_stock' })
  expect(await available(sku)).toBe(1)
})

it('ten shoppers after three units: three get one, nothing is oversold', async () => {
  const sku = await product(3)
  // One after the other: each costs two password hashes, and users sheds load rather than let
  // log-ins pile up.
  const shoppers: Shopper[] = []
  while (shoppers.length < 10) shoppers.push(await shopper())
  const orders = await Promise.all(shoppers.map(async (who) => terminal(who, (await place(who, sku)).body.id, 30_000)))
  expect(orders.filter((o) => o.status === 'CONFIRMED')).toHaveLength(3)
  expect(orders.filter((o) => o.reason === 'out_of_stock')).toHaveLength(7)
  await until('none is left', async () => ((await available(sku)) === 0 ? true : undefined), 5_000)
})

it('the same idempotency key names the same order, and refuses another request', async () => {
  const sku = await product(9)
  const who = await shopper()
  const key = randomUUID()
  const [first, second] = await Promise.all([place(who, sku, { key }), place(who, sku, { key })])
  expect([first.status, second.status]).toEqual([202, 202])
  expect(second.body.id).toBe(first.body.id)
  const other = await place(who, sku, { key, quantity: 2 })
  expect([other.status, other.body.code]).toEqual([422, 'idempotency_key_reused'])
  await terminal(who, first.body.id)
  await until('one unit is gone', async () => ((await available(sku)) === 8 ? true : undefined), 2_000)
})

it('an order is not shown to another shopper', async () => {
  const who = await shopper()
  const { body } = await place(who, await product(1))
  const other = await api(`/v1/orders/${body.id}`, { token: (await shopper()).token })
  expect([other.status, other.body.code]).toEqual([404, 'order_not_found'])
})

it('one order is one trace, from the gateway through gRPC, state and Kafka to CONFIRMED', async () => {
  const who = await shopper()
  const placed = await place(who, await product(1))
  const traceId = /^00-([0-9a-f]{32})-[0-9a-f]{16}-01$/.exec(placed.headers.get('traceparent') ?? '')?.[1]
  expect(traceId).toBeDefined()
  await terminal(who, placed.body.id)

  // Spans leave each process in batches, some seconds later.
  const spans = await until(
    'the trace holds every service and every hop',
    async () => {
      const response = await fetch(`${inject('shopJaeger')}/api/traces/${traceId}`)
      if (!response.ok) return undefined
      const trace = ((await response.json()) as Json).data[0]
      const found = trace.spans.map((s: Json) => ({
        service: trace.processes[s.processID].serviceName as string,
        name: s.operationName as string,
      }))
      const missing = wanted.filter((w) => !found.some((s: Span) => w.service === s.service && w.name.test(s.name)))
      return missing.length === 0 ? (found as Span[]) : undefined
    },
    30_000,
  )
  expect(spans.length).toBeGreaterThan(wanted.length)
}, 60_000)

type Span = { service: string; name: string }
const wanted = [
  { service: 'gateway', name: /POST \/v1\/orders/ },
  { service: 'orders', name: /orders\.v1\.OrdersService\/Place/ },
  { service: 'users', name: /ValidateUser/ },
  { service: 'catalog', name: /BatchGetVariants/ },
  { service: 'orders', name: /ExecuteStateTransaction/i },
  { service: 'inventory', name: /OnTopicEvent/ },
  { service: 'payments', name: /payment-provider/ },
  { service: 'orders', name: /OnTopicEvent/ },
  { service: 'inventory-dapr', name: /pubsub\/orders/ },
  { service: 'payments-dapr', name: /pubsub\/orders/ },
  { service: 'orders-dapr', name: /pubsub\/(stock|payments)/ },
]
