import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startStoreSidecar, type StoreSidecar } from '../../platform/testing/store-sidecar.ts'
import { place, type Order } from './order.ts'
import { createOrderStore, type OrderStore, type Position } from './order-store.ts'

let sidecar: StoreSidecar
let store: OrderStore
/** A second replica of the service. */
let replica: OrderStore
beforeAll(async () => {
  sidecar = await startStoreSidecar({ appId: 'orders', store: 'orders-store' })
  store = createOrderStore({ state: sidecar.dapr.state('orders-store'), now })
  replica = createOrderStore({ state: sidecar.dapr.state('orders-store'), now })
})
afterAll(() => sidecar?.close())

const now = () => new Date()
const newUser = () => `u-${randomUUID()}`
const lines = [{ sku: 'a', quantity: 2, title: 'A', unitPrice: { amount: 150, currency: 'USD' } }]
const newOrder = (userId: string, idempotencyKey: string = randomUUID()) =>
  place({
    userId,
    idempotencyKey,
    lines,
    total: { amount: 300, currency: 'USD' },
    paymentMethod: 'pm_card_visa',
    now: now(),
  })

async function listed(userId: string, limit: number): Promise<Order[]> {
  const orders: Order[] = []
  for (let position: Position | undefined; ;) {
    const page = await store.list(userId, limit, position)
    if (!page) throw new Error('unknown position')
    orders.push(...page.orders)
    if (!page.next) return orders
    position = page.next
  }
}

test('an order is stored and published once, however often it is placed, also at the same time', async () => {
  const [userId, key] = [newUser(), randomUUID()]
  const placed = await Promise.all(
    Array.from({ length: 10 }, (_, i) => (i % 2 ? replica : store).insert(newOrder(userId, key))),
  )
  const { orderId } = placed[0]!
  for (const order of placed) expect(order).toEqual(await store.get(userId, orderId))
  expect((await listed(userId, 10)).map((o) => o.orderId)).toEqual([orderId])
  await store.move(userId, orderId, { type: 'cancel', reason: 'some_reason' })
  expect((await sidecar.published(orderId, 2)).map((e) => [e.type, e.sequence])).toEqual([
    ['orders.order-placed.v1', '1'],
    ['orders.order-cancelled.v1', '2'],
  ])
})

test('a list of several pages is complete, newest first, also when two replicas add to it at once', async () => {
  const userId = newUser()
  const made = []
  for (let i = 0; i < 101; i += 1) made.push((await (i < 10 ? replica : store).insert(newOrder(userId))).orderId)
  made.push(
    ...(await Promise.all(Array.from({ length: 6 }, (_, i) => (i % 2 ? replica : store).insert(newOrder(userId))))).map(
      (o) => o.orderId,
    ),
  )
  for (const limit of [7, 100]) {
    const ids = (await listed(userId, limit)).map((o) => o.orderId)
    expect(new Set(ids)).toEqual(new Set(made))
    expect(ids.slice(6)).toEqual(made.slice(0, 101).toReversed())
  }
  expect(await store.list(userId, 10, { page: 1, index: 50 })).toBeUndefined()
})

test('of events and a cancellation that arrive at once, one moves the order, and it moves once', async () => {
  const userId = newUser()
  const { orderId } = await store.insert(newOrder(userId))
  await store.move(userId, orderId, { type: 'stock-reserved' })
  await Promise.all([
    store.move(userId, orderId, { type: 'payment-captured' }),
    replica.move(userId, orderId, { type: 'payment-captured' }),
    replica.move(userId, orderId, { type: 'cancel', reason: 'cancelled_by_shopper' }),
  ])
  const order = await store.get(userId, orderId)
  expect(order!.status).toMatch(/^(CONFIRMED|CANCELLED)$/)
  const types = (await sidecar.published(orderId, 3)).map((e) => e.type)
  expect(types).toEqual([
    'orders.order-placed.v1',
    'orders.payment-requested.v1',
    order!.status === 'CONFIRMED' ? 'orders.order-confirmed.v1' : 'orders.order-cancelled.v1',
  ])
})

test('an order that was not placed is unknown', async () => {
  expect(await store.get(newUser(), 'o-1')).toBeUndefined()
  expect(await store.move(newUser(), 'o-1', { type: 'stock-reserved' })).toBeUndefined()
  expect(await store.list(newUser(), 10, undefined)).toEqual({ orders: [], next: undefined })
})
