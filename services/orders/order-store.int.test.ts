import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startStoreSidecar, type StoreSidecar } from '../../platform/testing/store-sidecar.ts'
import { createKeyRanges, type DueRow, type KeyRanges } from '#lib/key-ranges.ts'
import { place, type Order, type Trigger } from './order.ts'
import { createOrderStore, orderKey, queues, type OrderStore, type Position } from './order-store.ts'

let sidecar: StoreSidecar
let store: OrderStore
/** A second replica of the service. */
let replica: OrderStore
let ranges: KeyRanges
beforeAll(async () => {
  sidecar = await startStoreSidecar({
    appId: 'orders',
    store: 'orders-store',
    topics: ['payment-requests'],
    ranges: 'orders-ranges',
  })
  ranges = createKeyRanges({ dapr: sidecar.dapr, binding: 'orders-ranges', appId: 'orders' })
  const create = () => createOrderStore({ state: sidecar.dapr.state('orders-store'), ranges, now, timeouts })
  store = create()
  replica = create()
})
afterAll(() => sidecar?.close())

const now = () => new Date()
const timeouts = { stockMs: 900_000, paymentMs: 600_000 }
const move = (by: OrderStore, userId: string, orderId: string, trigger: Trigger) =>
  by.batches.commit({
    keys: [orderKey(userId, orderId)],
    decide: (draft) => by.move(draft, userId, orderId, trigger),
  })
const newUser = () => `u-${randomUUID()}`
const lines = [{ sku: 'a', quantity: 2, title: 'A', unitPrice: { amount: 150, currency: 'USD' } }]
const newOrder = (userId: string, idempotencyKey: string = randomUUID(), within = timeouts) =>
  place({
    userId,
    idempotencyKey,
    lines,
    total: { amount: 300, currency: 'USD' },
    paymentMethod: 'pm_card_visa',
    now: now(),
    timeouts: within,
  })

async function listed(userId: string, limit: number): Promise<Order[]> {
  const orders: Order[] = []
  for (let position: Position | undefined; ;) {
    const page = await store.list(userId, limit, position)
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
  await move(store, userId, orderId, { type: 'cancel', reason: 'some_reason' })
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
})

test('of events and a cancellation that arrive at once, one moves the order, and it moves once', async () => {
  const userId = newUser()
  const { orderId } = await store.insert(newOrder(userId))
  await move(store, userId, orderId, { type: 'stock-reserved' })
  await Promise.all([
    move(store, userId, orderId, { type: 'payment-captured' }),
    move(replica, userId, orderId, { type: 'payment-captured' }),
    move(replica, userId, orderId, { type: 'cancel', reason: 'cancelled_by_shopper' }),
  ])
  const order = await store.get(userId, orderId)
  expect(order!.status).toMatch(/^(CONFIRMED|CANCELLED)$/)
  const types = (await sidecar.published(orderId, order!.status === 'CONFIRMED' ? 3 : 4)).map((e) => e.type)
  expect(types).toEqual([
    'orders.order-placed.v1',
    'orders.payment-requested.v1',
    ...(order!.status === 'CONFIRMED'
      ? ['orders.order-confirmed.v1']
      : ['orders.order-cancelled.v1', 'orders.payment-withdrawn.v1']),
  ])
})

test('an order that was not placed is unknown', async () => {
  expect(await store.get(newUser(), 'o-1')).toBeUndefined()
  expect(await move(store, newUser(), 'o-1', { type: 'stock-reserved' })).toBeUndefined()
  expect(await store.list(newUser(), 10, undefined)).toEqual({ orders: [], next: undefined })
})

describe('an order past its deadline', () => {
  const soon = { stockMs: -1_000, paymentMs: -1_000 }
  const impatient = () => createOrderStore({ state: sidecar.dapr.state('orders-store'), ranges, now, timeouts: soon })
  const isOf = (orderId: string) => (row: DueRow) => row.id === orderId

  test('is due, and expires once, also when two replicas sweep at once', async () => {
    const userId = newUser()
    const order = await store.insert(newOrder(userId, undefined, soon))
    const [row] = (await ranges.due(queues.PENDING, 1_000)).filter(isOf(order.orderId))
    expect(row).toMatchObject({ queue: 'stock', at: order.deadline, tag: userId })
    await Promise.all([store.expire(row!), replica.expire(row!), store.expire(row!)])
    expect(await store.get(userId, order.orderId)).toMatchObject({ status: 'CANCELLED', reason: 'stock_timeout' })
    expect((await ranges.due(queues.PENDING, 1_000)).filter(isOf(order.orderId))).toEqual([])
    expect((await sidecar.published(order.orderId, 2)).map((e) => e.type)).toEqual([
      'orders.order-placed.v1',
      'orders.order-cancelled.v1',
    ])
  })

  test('that waits for its payment: the payment is withdrawn', async () => {
    const userId = newUser()
    const { orderId } = await store.insert(newOrder(userId))
    await move(impatient(), userId, orderId, { type: 'stock-reserved' })
    const [row] = (await ranges.due(queues.RESERVED, 1_000)).filter(isOf(orderId))
    await replica.expire(row!)
    expect(await store.get(userId, orderId)).toMatchObject({ status: 'CANCELLED', reason: 'payment_timeout' })
    expect((await sidecar.published(orderId, 4)).at(-1)).toMatchObject({ type: 'orders.payment-withdrawn.v1' })
  })

  test('is not due before it, nor once it has moved on', async () => {
    const userId = newUser()
    const { orderId, deadline } = await store.insert(newOrder(userId))
    expect((await ranges.due(queues.PENDING, 1_000)).filter(isOf(orderId))).toEqual([])
    await move(store, userId, orderId, { type: 'stock-reserved' })
    const stale = {
      key: `due:stock:${deadline}:{${userId}}:${orderId}`,
      queue: 'stock',
      at: deadline!,
      tag: userId,
      id: orderId,
    }
    expect(await store.expire(stale)).toMatchObject({ outcome: 'unchanged', order: { status: 'RESERVED' } })
  })
})
