import { randomUUID } from 'node:crypto'
import { expect, inject, it } from 'vitest'
import { poll } from '../platform/poll.ts'
import {
  api,
  available,
  place,
  product,
  shopper,
  terminal,
  untilAvailable,
  type Json,
  type Shopper,
} from './shop-client.ts'

it('an order is CONFIRMED, and its stock sold', async () => {
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
  await untilAvailable(sku, 3, 2_000)
  const list = await api('/v1/orders?limit=10', { token: who.token })
  expect(list.body.items.map((order: Json) => order.id)).toEqual([placed.body.id])
})

it('a SKU with unusual characters sells like any other', async () => {
  const sku = await product(2, { suffix: ' 🏺||50%/é' })
  const who = await shopper()
  expect(await terminal(who, (await place(who, sku)).body.id)).toMatchObject({ status: 'CONFIRMED' })
  await untilAvailable(sku, 1, 5_000)
})

it('a declined card ends in CANCELLED with the reason, and the stock is released', async () => {
  const sku = await product(3)
  const who = await shopper()
  const { body } = await place(who, sku, { quantity: 3, method: 'pm_card_chargeDeclinedInsufficientFunds' })
  expect(await terminal(who, body.id)).toMatchObject({ status: 'CANCELLED', reason: 'insufficient_funds' })
  await untilAvailable(sku, 3, 5_000)
  const second = await place(who, sku, { quantity: 3 })
  expect(await terminal(who, second.body.id)).toMatchObject({ status: 'CONFIRMED' })
})

it('an order beyond the stock ends in CANCELLED with the reason', async () => {
  const sku = await product(1)
  const who = await shopper()
  const { body } = await place(who, sku, { quantity: 2 })
  expect(await terminal(who, body.id)).toMatchObject({ status: 'CANCELLED', reason: 'out_of_stock' })
  expect(await available(sku)).toBe(1)
})

it('ten shoppers want three units: three get one, nothing is oversold', async () => {
  const sku = await product(3)
  // One at a time: each costs two password hashes, and users rejects log-ins rather than letting
  // them pile up.
  const shoppers: Shopper[] = []
  while (shoppers.length < 10) shoppers.push(await shopper())
  const orders = await Promise.all(shoppers.map(async (who) => terminal(who, (await place(who, sku)).body.id, 30_000)))
  expect(orders.filter(({ status }) => status === 'CONFIRMED')).toHaveLength(3)
  expect(orders.filter(({ reason }) => reason === 'out_of_stock')).toHaveLength(7)
  await untilAvailable(sku, 0, 5_000)
})

it('an Idempotency-Key names one order, and a different request with it is refused', async () => {
  const sku = await product(9)
  const who = await shopper()
  const key = randomUUID()
  const [first, second] = await Promise.all([place(who, sku, { key }), place(who, sku, { key })])
  expect([first.status, second.status]).toEqual([202, 202])
  expect(second.body.id).toBe(first.body.id)
  const other = await place(who, sku, { key, quantity: 2 })
  expect([other.status, other.body.code]).toEqual([422, 'idempotency_key_reused'])
  await terminal(who, first.body.id)
  await untilAvailable(sku, 8, 2_000)
})

it('a shopper cannot see the order of another one', async () => {
  const who = await shopper()
  const { body } = await place(who, await product(1))
  const other = await api(`/v1/orders/${body.id}`, { token: (await shopper()).token })
  expect([other.status, other.body.code]).toEqual([404, 'order_not_found'])
})

it('an order is one trace, from the gateway through gRPC, state and Kafka to CONFIRMED, or none', async () => {
  const who = await shopper()
  // One that the client does not want traced, before the one that is.
  const unsampled = randomUUID().replaceAll('-', '')
  const other = await shopper()
  const traceparent = `00-${unsampled}-00f067aa0ba902b7-00`
  const quiet = await place(other, await product(1), { headers: { traceparent } })
  expect(quiet.headers.get('traceparent')).toBe(traceparent)
  expect(await terminal(other, quiet.body.id)).toMatchObject({ status: 'CONFIRMED' })

  // A shop that is busy with other tests traces some requests only (TRACES_PER_SECOND).
  const { orderId, traceId } = await poll('an order that is traced', async () => {
    const placed = await place(who, await product(1))
    const traceId = /^00-([0-9a-f]{32})-[0-9a-f]{16}-01$/.exec(placed.headers.get('traceparent') ?? '')?.[1]
    return traceId === undefined ? undefined : { traceId, orderId: placed.body.id as string }
  })
  await terminal(who, orderId)

  // Each process exports its spans in batches, some seconds later.
  const spans = await poll(
    'the trace has spans of every hop',
    async () => {
      const response = await fetch(`${inject('shopJaeger')}/api/traces/${traceId}`)
      if (!response.ok) return undefined
      const trace = ((await response.json()) as Json).data[0]
      const found = trace.spans.map((s: Json) => ({
        service: trace.processes[s.processID].serviceName as string,
        name: s.operationName as string,
      }))
      const missing = wanted.filter((w) => !found.some((s: Span) => w.service === s.service && w.name.test(s.name)))
      if (missing.length > 0)
        throw new Error(`missing: ${JSON.stringify(missing.map(({ service, name }) => `${service} ${name}`))}`)
      return found as Span[]
    },
    { timeoutMs: 30_000 },
  )
  expect(spans.length).toBeGreaterThan(wanted.length)

  // By now, as processes send their spans in order, those of the first order would be there, of
  // services, sidecars and components.
  const traces = await fetch(`${inject('shopJaeger')}/api/traces/${unsampled}`)
  expect(traces.status).toBe(404)
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
  { service: 'payments-dapr', name: /pubsub\/payment-requests/ },
  { service: 'orders-dapr', name: /pubsub\/(stock|payments)/ },
]
