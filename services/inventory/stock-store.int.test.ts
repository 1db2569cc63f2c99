import { randomUUID } from 'node:crypto'
import { Metadata } from '@grpc/grpc-js'
import { pino } from 'pino'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Call } from '#lib/grpc-server.ts'
import { startStoreSidecar, type StoreSidecar } from '../../platform/testing/store-sidecar.ts'
import { createEventHandlers } from './events.ts'
import { createInventoryHandlers } from './grpc.ts'
import { createStockStore, type StockStore } from './stock-store.ts'

let sidecar: StoreSidecar
let store: StockStore
/** A second replica of the service. */
let replica: StockStore
beforeAll(async () => {
  sidecar = await startStoreSidecar({
    appId: 'inventory',
    store: 'inventory-store',
    topics: ['stock-levels', 'stock-imports'],
  })
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
const handlersOf = (by: StockStore) => createEventHandlers({ store: by })
/** Commits the works of an event, as lib/consumer.ts does. */
const handle = (type: string, data: Order, by: StockStore) => {
  const { keys, presumedAbsent, decide } = handlersOf(by)[type]!
  const event = { id: 'e', type, topic: 'orders', subject: '', sequence: 1, time: '', data }
  return by.batches.commit({
    keys: keys(event),
    presumedAbsent: presumedAbsent?.(event) ?? [],
    decide: (draft) => decide(event, draft),
  })
}
const onPlaced = (order: Order, by = store) => handle('orders.order-placed.v1', order, by)
const onCancelled = (order: Order, by = store) => handle('orders.order-cancelled.v1', order, by)
const onConfirmed = (order: Order, by = store) => handle('orders.order-confirmed.v1', order, by)

describe('an order', () => {
  test('placed and confirmed: its stock is held, then sold; the new levels are published once', async () => {
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
    expect(await sidecar.published(order.orderId, 1)).toMatchObject([
      { type: 'stock.stock-reserved.v1', data: { orderId: order.orderId, userId: 'u-1' } },
    ])
    const levels = [
      { sku: b, available: 0, ordered: 1, version: 2 },
      { sku: a, available: 3, ordered: 2, version: 2 },
    ]
    // Selling is no news. The event of two SKUs has the first one's key.
    expect(await sidecar.published(b, 2)).toMatchObject([{}, { type: 'stock.levels-changed.v1', data: { levels } }])
  })

  test('cancelled: its stock is available again', async () => {
    const a = await stocked('a', 5)
    const order = newOrder([a, 5])
    await onPlaced(order)
    for (let i = 0; i < 2; i += 1) await onCancelled(order)
    expect(await level(a)).toMatchObject({ reserved: 0, onHand: 5, version: 3 })
    const levels = [5, 0, 5].map((available) => ({ levels: [{ sku: a, available }] }))
    expect((await sidecar.published(a, 3)).map(({ data }) => data)).toMatchObject(levels)
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
    expect(await onPlaced(order)).toEqual({ outcome: 'done' })
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
      { type: 'stock.levels-changed.v1', data: { levels: [{ sku: change.sku, available: 7, version: 1 }] } },
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

describe('supplies in bulk', () => {
  const call: Call = { callerAppId: 'gateway', log: pino({ level: 'silent' }), metadata: new Metadata() }
  const bulk = (groups: [sku: string, quantity: number][][]) =>
    createInventoryHandlers({ store }).bulkSetSupply(
      { source: 'import', groups: groups.map((g) => ({ supplies: g.map(([sku, quantity]) => ({ sku, quantity })) })) },
      call,
    )

  test('of groups are set with one event, and again without any', async () => {
    const [a, b, c] = [newSku('a'), newSku('b'), newSku('c')]
    const groups: [string, number][][] = [
      [
        [a, 3],
        [b, 0],
      ],
      [[c, 5]],
    ]
    for (let i = 0; i < 2; i += 1) {
      const { results } = await bulk(groups)
      expect(results).toEqual([
        { code: '', message: '' },
        { code: '', message: '' },
      ])
    }
    expect([await level(a), await level(b), await level(c)]).toMatchObject([
      { onHand: 3, version: 1 },
      { onHand: 0, version: 1 },
      { onHand: 5, version: 1 },
    ])
    const levels = [
      { sku: a, available: 3, ordered: 0, version: 1 },
      { sku: c, available: 5, ordered: 0, version: 1 },
    ]
    expect(await sidecar.published(a, 1)).toMatchObject([
      { type: 'stock.levels-changed.v1', sequence: '1', data: { levels } },
    ])
    await bulk([[[a, 4]]])
    expect(await sidecar.published(a, 2)).toMatchObject([{ sequence: '1' }, { sequence: '2' }])
  })

  test('are all or none in a group, and a refused group keeps no other from being set', async () => {
    const [held, other, free] = [await stocked('held', 0), newSku('other'), newSku('free')]
    await bulk([[[held, 5]]])
    await onPlaced(newOrder([held, 4]))
    const { results } = await bulk([
      [
        [other, 1],
        [held, 3],
      ],
      [[free, 2]],
    ])
    expect(results).toMatchObject([{ code: 'insufficient_stock' }, { code: '' }])
    expect([await level(other), await level(free)]).toMatchObject([undefined, { onHand: 2 }])
  })

  test('that are wrong are refused by name', async () => {
    const a = newSku('a')
    const wrong: [string, Parameters<typeof bulk>[0]][] = [
      ['groups.1.supplies', [[[a, 1]], []]],
      ['groups.0.supplies.0.quantity', [[[a, -1]]]],
      ['groups.1.supplies.0.sku', [[[a, 1]], [[` ${a}`, 1]]]],
      ['groups.0.supplies.0.sku', [[['', 1]]]],
      ['groups', Array.from({ length: 1_001 }, () => [[newSku('x'), 1]])],
    ]
    for (const [field, groups] of wrong) await expect(bulk(groups)).rejects.toMatchObject({ fields: [{ field }] })
    expect(await level(a)).toBeUndefined()
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
