import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  adjust,
  available,
  emptyStock,
  release,
  reserve,
  sell,
  setSupply,
  toTell,
  type Decision,
  type Reservation,
  type Stock,
} from './stock.ts'

const stock = (sku: string, onHand: number, version = 1): Stock => ({ ...emptyStock(sku), onHand, version })
const shelf = (...all: Stock[]) => new Map(all.map((s) => [s.sku, s]))
const order = { orderId: 'o-1', userId: 'u-1' }
const changed = (d: Decision) => {
  if (d.outcome !== 'changed') throw new Error(`expected a change, not ${d.outcome}`)
  return d
}

describe('reserve', () => {
  test('enough of all: holds all lines', () => {
    const lines = [
      { sku: 'a', quantity: 2 },
      { sku: 'b', quantity: 1 },
    ]
    expect(reserve(undefined, { ...order, lines }, shelf(stock('a', 5), stock('b', 1)))).toMatchObject({
      outcome: 'changed',
      reservation: { status: 'reserved', lines },
      stock: [
        { sku: 'a', reserved: 2, version: 2 },
        { sku: 'b', reserved: 1, version: 2 },
      ],
      event: { type: 'stock.stock-reserved.v1', data: order },
    })
  })

  test('too little of one: holds nothing and names the SKU', () => {
    const lines = [
      { sku: 'a', quantity: 2 },
      { sku: 'b', quantity: 2 },
    ]
    expect(reserve(undefined, { ...order, lines }, shelf(stock('a', 5), stock('b', 1)))).toMatchObject({
      reservation: { status: 'rejected' },
      stock: [],
      event: { type: 'stock.stock-rejected.v1', data: { ...order, reason: 'out_of_stock', sku: 'b' } },
    })
  })

  test('a SKU without a stock record: none is available', () => {
    expect(reserve(undefined, { ...order, lines: [{ sku: 'x', quantity: 1 }] }, shelf())).toMatchObject({
      event: { data: { sku: 'x' } },
    })
  })

  test('two lines of one SKU count together', () => {
    const lines = [
      { sku: 'a', quantity: 2 },
      { sku: 'a', quantity: 2 },
    ]
    expect(reserve(undefined, { ...order, lines }, shelf(stock('a', 3)))).toMatchObject({
      reservation: { status: 'rejected' },
    })
  })

  test('after the cancellation: does nothing', () => {
    const cancelled = changed(release(undefined, order, shelf())).reservation
    expect(cancelled.status).toBe('cancelled-before-reservation')
    expect(reserve(cancelled, { ...order, lines: [{ sku: 'a', quantity: 1 }] }, shelf(stock('a', 1)))).toEqual({
      outcome: 'unchanged',
    })
  })
})

test('sell: reserved units become sold, and what is available stays the same', () => {
  const { reservation, stock: held } = changed(
    reserve(undefined, { ...order, lines: [{ sku: 'a', quantity: 2 }] }, shelf(stock('a', 5))),
  )
  expect(sell(reservation, shelf(...held))).toMatchObject({
    reservation: { status: 'sold' },
    stock: [{ reserved: 0, sold: 2, version: 3 }],
  })
})

describe('others hear', () => {
  const at = 1_000_000
  const known = (available: number, ordered = 0, told = at): Stock => ({
    ...stock('a', available + ordered),
    sold: ordered,
    told: { available, ordered, at: told },
  })
  /** Sells `units` a moment after what is known was told. */
  const sold = (before: Stock, units: number, { later = 1, exact = false } = {}) =>
    toTell({ ...before, sold: before.sold + units }, before.told!.at + later, { exact })?.told

  test('of each unit while there are few', () => {
    expect(sold(known(20), 1)).toEqual({ available: 19, ordered: 1, at: at + 1 })
    expect(sold(known(21), 1)).toMatchObject({ available: 20 })
    expect(sold(known(500), 490)).toMatchObject({ available: 10 })
  })

  test('of many when a twentieth has changed, up or down', () => {
    expect(sold(known(1_000), 50)).toBeUndefined()
    expect(sold(known(1_000), 51)).toMatchObject({ available: 949 })
    expect(sold(known(1_000, 200), -51)).toMatchObject({ available: 1_051 })
  })

  test('of any change a minute after they last heard, and of what a seller does at once', () => {
    expect(sold(known(1_000), 1, { later: 59_999 })).toBeUndefined()
    expect(sold(known(1_000), 1, { later: 60_000 })).toMatchObject({ available: 999, ordered: 1 })
    expect(sold(known(1_000), 1, { exact: true })).toMatchObject({ available: 999 })
  })

  test('of nothing that they know: a sale of what was reserved, a record of nothing', () => {
    const held = { ...known(10, 2), sold: 0, reserved: 2 }
    expect(toTell({ ...held, reserved: 0, sold: 2 }, at + 100_000, { exact: true })).toBeUndefined()
    expect(toTell(stock('b', 0), at, { exact: true })).toBeUndefined()
    expect(toTell(stock('b', 1), at, { exact: false })).toMatchObject({ told: { available: 1 } })
  })

  test('never of a number that is off by more than a twentieth', () => {
    const step = fc.record({ units: fc.integer({ min: -30, max: 60 }), later: fc.nat(70_000) })
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 5_000 }), fc.array(step, { maxLength: 100 }), (onHand, steps) => {
        let now = at
        let current = toTell(stock('a', onHand), now, { exact: true }) ?? stock('a', onHand)
        for (const { units, later } of steps) {
          now += later
          const next = { ...current, sold: Math.max(0, Math.min(current.onHand, current.sold + units)) }
          current = toTell(next, now, { exact: false }) ?? next
          const left = available(current)
          const heard = current.told?.available ?? 0
          expect(Math.abs(left - heard)).toBeLessThanOrEqual(Math.min(left, heard) <= 20 ? 0 : heard / 20)
        }
      }),
    )
  })
})

test('what contradicts the reservation is rejected as impossible, not ignored', () => {
  const reservation: Reservation = { ...order, status: 'sold', lines: [{ sku: 'a', quantity: 1 }] }
  expect(release(reservation, order, shelf(stock('a', 1)))).toEqual({ outcome: 'rejected', reason: 'impossible' })
  expect(sell({ ...reservation, status: 'released' }, shelf(stock('a', 1)))).toEqual({
    outcome: 'rejected',
    reason: 'impossible',
  })
  expect(sell(undefined, shelf())).toEqual({ outcome: 'rejected', reason: 'impossible' })
})

describe('setSupply', () => {
  const supply = (stock: Stock, source: string, quantity: number) => {
    const decision = setSupply(stock, source, quantity)
    if (decision.outcome === 'rejected') throw new Error(decision.reason)
    return decision
  }
  const first = supply(emptyStock('a'), 'import', 10).stock
  test('changes the units on hand by the difference from the previous total of the source', () => {
    expect(first).toMatchObject({ onHand: 10, supplies: { import: 10 } })
    const sold = { ...first, sold: 4 }
    expect(supply(sold, 'import', 12).stock).toMatchObject({ onHand: 12, sold: 4, supplies: { import: 12 } })
    expect(supply(sold, 'warehouse', 5).stock).toMatchObject({ onHand: 15, supplies: { import: 10, warehouse: 5 } })
  })
  test('repeated: changes nothing', () =>
    expect(setSupply(first, 'import', 10)).toEqual({ outcome: 'unchanged', stock: first }))
  test('0 of a new SKU: creates a record', () =>
    expect(setSupply(emptyStock('a'), 'import', 0)).toMatchObject({
      outcome: 'changed',
      stock: { onHand: 0, version: 1 },
    }))
  test('less than is reserved and sold: is rejected', () => {
    expect(setSupply({ ...first, reserved: 2, sold: 4 }, 'import', 5)).toEqual({
      outcome: 'rejected',
      reason: 'insufficient_stock',
    })
  })
  test('a source named like a method of objects is a source', () =>
    expect(supply(stock('a', 1), 'constructor', 1).stock).toMatchObject({ onHand: 2 }))
})

test('in any order of steps stock is never negative, and exactly what open reservations hold is reserved', () => {
  const skus = ['a', 'b', 'c']
  const anySku = fc.constantFrom(...skus)
  const anyOrder = fc.constantFrom('o-1', 'o-2', 'o-3', 'o-4')
  const step = fc.oneof(
    fc.record({
      do: fc.constant('reserve' as const),
      id: anyOrder,
      lines: fc.array(fc.record({ sku: anySku, quantity: fc.integer({ min: 1, max: 4 }) }), {
        minLength: 1,
        maxLength: 4,
      }),
    }),
    fc.record({ do: fc.constantFrom('release' as const, 'sell' as const), id: anyOrder }),
    fc.record({ do: fc.constant('adjust' as const), sku: anySku, delta: fc.integer({ min: -6, max: 6 }) }),
    fc.record({
      do: fc.constant('supply' as const),
      sku: anySku,
      source: fc.constantFrom('x', 'y'),
      quantity: fc.integer({ min: 0, max: 8 }),
    }),
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const rows = new Map<string, Stock>()
      const reservations = new Map<string, Reservation>()
      for (const s of steps) {
        if (s.do === 'adjust' || s.do === 'supply') {
          const before = rows.get(s.sku) ?? emptyStock(s.sku)
          const decision = s.do === 'adjust' ? adjust(before, s.delta) : setSupply(before, s.source, s.quantity)
          if (decision.outcome === 'changed') rows.set(s.sku, decision.stock)
        } else {
          const known = reservations.get(s.id)
          const asked = { orderId: s.id, userId: 'u-1' }
          const decision =
            s.do === 'reserve'
              ? reserve(known, { ...asked, lines: s.lines }, rows)
              : s.do === 'release'
                ? release(known, asked, rows)
                : sell(known, rows)
          if (decision.outcome === 'changed') {
            reservations.set(s.id, decision.reservation)
            for (const row of decision.stock) {
              expect(row.version).toBe(rows.get(row.sku)!.version + 1)
              rows.set(row.sku, row)
            }
          }
        }
        const held = (status: Reservation['status'], sku: string) =>
          [...reservations.values()]
            .filter((r) => r.status === status)
            .flatMap((r) => r.lines)
            .filter((l) => l.sku === sku)
            .reduce((sum, l) => sum + l.quantity, 0)
        for (const row of rows.values()) {
          expect(available(row)).toBeGreaterThanOrEqual(0)
          expect(row.reserved).toBe(held('reserved', row.sku))
          expect(row.sold).toBe(held('sold', row.sku))
        }
      }
    }),
  )
})
