import { randomUUID } from 'node:crypto'
import { Metadata } from '@grpc/grpc-js'
import { pino } from 'pino'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Call } from '#lib/grpc-server.ts'
import { startStoreSidecar, type StoreSidecar } from '../../platform/testing/store-sidecar.ts'
import { createInventoryHandlers } from './grpc.ts'
import { release, reserve, sell } from './stock.ts'
import { createStockStore, type StockStore } from './stock-store.ts'

let sidecar: StoreSidecar
let store: StockStore
/** A second replica of the service. */
let replica: StockStore
beforeAll(async () => {
  sidecar = await startStoreSidecar({ appId: 'inventory', store: 'inventory-store' })
  store = createStockStore({ state: sidecar.dapr.state('inventory-store') })
  replica = createStockStore({ state: sidecar.dapr.state('inventory-store') })
})
afterAll(() => sidecar?.close())

const newSku = (name: string) => `${name}-${randomUUID()}`
async function stocked(name: string, quantity: number): Promise<string> {
  const sku = newSku(name)
  await store.setSupply({ sku, source: 'test', quantity })
  return sku
}
const level = async (sku: string) => (await store.levels([sku]))[0]
const newOrder = (...lines: [sku: string, quantity: number][]) => ({
  orderId: `o-${randomUUID()}`,
  userId: 'u-1',
  lines: lines.map(([sku, quantity]) => ({ sku, quantity })),
})
type Order = ReturnType<typeof newOrder>
const onPlaced = (order: Order, by = store) =>
  by.decideOrder(
    order.orderId,
    order.lines.map((l) => l.sku),
    (known, stock) => reserve(known, order, stock),
  )
const onCancelled = ({ orderId, userId }: Order, by = store) =>
  by.decideOrder(orderId, [], (known, stock) => release(known, { orderId, userId }, stock))
const onConfirmed = ({ orderId }: Order, by = store) => by.decideOrder(orderId, [], sell)

describe('an order', () => {
  test('placed and confirmed: its stock is held, then sold; each is published once with the new levels', async () => {
    const [a, b] = [await stocked('a', 5), await stocked('b', 1)]
    const order = newOrder([b, 1], [a, 2])
    for (let i = 0; i < 2; i += 1) await onPlaced(order)
    expect([await level(a), await level(b)]).toMatchObject([
      { reserved: 2, version: 2 },
      { reserved: 1, version: 2 },
    ])
    for (let i = 0; i < 2; i += 1) await onConfirmed(order)
    expect([await level(a), await level(b)]).toMatchObject([
      { reserved: 0, sold: 2 },
      { reserved: 0, sold: 1 },
    ])
    const levels = (version: number) => [
      { sku: b, available: 0, version },
      { sku: a, available: 3, version },
    ]
    expect(await sidecar.published(order.orderId, 2)).toMatchObject([
      { type: 'stock.stock-reserved.v1', data: { orderId: order.orderId, userId: 'u-1', levels: levels(2) } },
      { type: 'stock.stock-sold.v1', data: { levels: levels(3) } },
    ])
  })

  test('cancelled: its stock is available again', async () => {
    const a = await stocked('a', 5)
    const order = newOrder([a, 5])
    await onPlaced(order)
    for (let i = 0; i < 2; i += 1) await onCancelled(order)
    expect(await level(a)).toMatchObject({ reserved: 0, onHand: 5, version: 3 })
    expect((await sidecar.published(order.orderId, 2)).map((e) => e.type)).toEqual([
      'stock.stock-reserved.v1',
      'stock.stock-released.v1',
    ])
  })

  test('for a known and an unknown SKU: holds neither', async () => {
    const a = await stocked('a', 5)
    const order = newOrder([a, 1], [newSku('none'), 1])
    await onPlaced(order)
    expect(await level(a)).toMatchObject({ reserved: 0, version: 1 })
    expect(await sidecar.published(order.orderId, 1)).toMatchObject([
      { type: 'stock.stock-rejected.v1', data: { reason: 'out_of_stock', sku: order.lines[1]!.sku } },
    ])
  })

  test('whose cancellation comes first: holds nothing', async () => {
    const a = await stocked('a', 5)
    const order = newOrder([a, 1])
    await onCancelled(order)
    expect(await onPlaced(order)).toEqual({ outcome: 'unchanged' })
    expect(await level(a)).toMatchObject({ reserved: 0 })
  })
})

test('20 orders for the last 5 units, through two replicas at once: 5 get one', async () => {
  const [a, b] = [await stocked('a', 5), await stocked('b', 100)]
  const orders = Array.from({ length: 20 }, (_, i) => (i % 2 ? newOrder([a, 1], [b, 1]) : newOrder([b, 1], [a, 1])))
  // As the sidecar does: redelivers an event until it is handled.
  const untilHandled = async (order: Order, by: StockStore): Promise<unknown> =>
    onPlaced(order, by).catch((error) => (error.kind === 'conflict' ? untilHandled(order, by) : Promise.reject(error)))
  await Promise.all(orders.map((order, i) => untilHandled(order, i % 3 ? store : replica)))
  expect([await level(a), await level(b)]).toMatchObject([{ onHand: 5, reserved: 5 }, { reserved: 5 }])
})

describe('an adjustment', () => {
  test('counts once, even when it arrives several times at once', async () => {
    const change = { sku: newSku('a'), delta: 7, adjustmentId: randomUUID() }
    await Promise.all(Array.from({ length: 6 }, (_, i) => (i % 2 ? replica : store).adjust(change)))
    expect(await level(change.sku)).toMatchObject({ onHand: 7, version: 1 })
    await expect(store.adjust({ ...change, delta: 8 })).rejects.toMatchObject({
      kind: 'rejected',
      code: 'adjustment_id_reused',
    })
    expect(await sidecar.published(change.sku, 1)).toMatchObject([
      { type: 'stock.stock-adjusted.v1', data: { levels: [{ sku: change.sku, available: 7, version: 1 }] } },
    ])
  })

  test('that would take reserved units is refused', async () => {
    const a = await stocked('a', 5)
    await onPlaced(newOrder([a, 4]))
    await expect(store.adjust({ sku: a, delta: -2, adjustmentId: randomUUID() })).rejects.toMatchObject({
      kind: 'rejected',
      code: 'insufficient_stock',
    })
    await expect(store.setSupply({ sku: a, source: 'test', quantity: 3 })).rejects.toMatchObject({
      kind: 'rejected',
      code: 'insufficient_stock',
    })
  })
})

test('stock set for a SKU in decomposed Unicode is found by its composed spelling', async () => {
  const sku = newSku('caf\u00e9')
  const { setSupply, getAvailability } = createInventoryHandlers({ store })
  const call: Call = { callerAppId: 'gateway', log: pino({ level: 'silent' }), metadata: new Metadata() }
  await setSupply({ sku: ` ${sku.normalize('NFD')} `, source: 'test', quantity: 3 }, call)
  for (const spelling of [sku, sku.normalize('NFD')])
    expect(await getAvailability({ skus: [spelling] }, call)).toMatchObject({ levels: [{ sku, available: 3 }] })
})

test.each(['a||b', '100%', 'a%7Cb', '🏺 é', 'A', 'a', ' a'])('%j is a distinct SKU', async (name) => {
  const sku = await stocked(name, 3)
  const odd = { sku: `${name}||${randomUUID()}`, source: 'test', quantity: 4 }
  await store.setSupply(odd)
  await store.setSupply(odd)
  expect(await level(sku)).toMatchObject({ sku, onHand: 3, version: 1 })
  expect(await level(odd.sku)).toMatchObject({ sku: odd.sku, onHand: 4, version: 1 })
})
