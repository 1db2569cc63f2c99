import { describe, expect, it } from 'vitest'
import { reconcile, type Kind } from './rules.ts'
import type { ShopState } from './shop-state.ts'

const now = new Date('2026-01-01T12:00:00.000Z')
const lines = () => [{ sku: 'pot', quantity: 1 }]
const price = { amount: 1_000, currency: 'USD' }

/** A quiet shop: an order that is CONFIRMED, one refunded, one that waits for its payment. */
function quiet(): ShopState {
  const order = { userId: 'u-1', total: price, placedAt: '2026-01-01T11:59:00.000Z' }
  const charge = { amount: 1_000, currency: 'usd', status: 'succeeded' }
  return {
    orders: [
      { ...order, orderId: 'o-1', status: 'CONFIRMED', lines: lines(), payment: { status: 'captured', refunded: 0 } },
      {
        ...order,
        orderId: 'o-2',
        status: 'CANCELLED',
        lines: lines(),
        payment: { status: 'refunded', refunded: 1_000 },
      },
      { ...order, orderId: 'o-3', status: 'RESERVED', lines: lines(), deadline: '2026-01-01T12:10:00.000Z' },
    ],
    reservations: [
      { orderId: 'o-1', status: 'sold', lines: lines() },
      { orderId: 'o-2', status: 'released', lines: lines() },
      { orderId: 'o-3', status: 'reserved', lines: lines() },
    ],
    stock: [{ sku: 'pot', onHand: 9, reserved: 1, sold: 1, supplies: { import: 10 }, told: { available: 7 } }],
    adjustments: [{ sku: 'pot', delta: -1 }],
    available: new Map([['pot', 7]]),
    payments: [
      { orderId: 'o-1', status: 'CAPTURED', charge: { amount: price }, providerId: 'pi_1', refunds: [] },
      {
        orderId: 'o-2',
        status: 'REFUNDED',
        charge: { amount: price },
        providerId: 'pi_2',
        refunds: [{ amount: 1_000, status: 'DONE' }],
      },
      { orderId: 'o-3', status: 'PENDING', charge: { amount: price }, providerId: '' },
    ],
    charges: [
      { ...charge, id: 'pi_1', amount_refunded: 0, metadata: { order_id: 'o-1' } },
      { ...charge, id: 'pi_2', amount_refunded: 1_000, metadata: { order_id: 'o-2' } },
    ],
    unpublished: { orders: 0 },
    unreadable: [],
    listed: ['o-1', 'o-2', 'o-3'].map((id) => `placed:{u-1}:2026-01-01T11:59:00.000Z:${id}`),
    due: [
      { service: 'orders', key: 'due:payment:2026-01-01T12:10:00.000Z:{u-1}:o-3' },
      { service: 'payments', key: 'due:payments:2026-01-01T12:00:30.000Z:{o-3}:o-3' },
    ],
  }
}

const kindsOf = (state: ShopState): Kind[] => reconcile(state, now).map(({ kind }) => kind)

it('a quiet shop agrees, also with an order that waits and one without a price', () => {
  expect(reconcile(quiet(), now)).toEqual([])
  const free = quiet()
  free.orders[0]!.total = { amount: 0, currency: 'USD' }
  free.payments[0]!.charge = { amount: { amount: 0, currency: 'USD' } }
  free.charges.shift()
  expect(reconcile(free, now)).toEqual([])
})

describe('finds', () => {
  const faults: [string, (state: ShopState) => void, Kind[]][] = [
    [
      'a second charge for an order',
      ({ charges }) => charges.push({ ...charges[0]!, id: 'pi_9' }),
      ['charged_twice', 'charge_unknown'],
    ],
    [
      'a second charge that was given back',
      ({ charges }) => charges.push({ ...charges[0]!, id: 'pi_9', amount_refunded: 1_000 }),
      ['charged_twice', 'refund_differs', 'charge_unknown'],
    ],
    ['a charge of another amount', ({ charges }) => (charges[0]!.amount = 1_001), ['charge_differs']],
    ['a charge in another currency', ({ charges }) => (charges[0]!.currency = 'eur'), ['charge_differs']],
    [
      'a payment that was declined, and nobody heard',
      ({ payments }) => (payments[2]!.status = 'DECLINED'),
      ['event_lost'],
    ],
    [
      'a charge of an order that waits',
      ({ charges }) => charges.push({ ...charges[0]!, id: 'pi_3', metadata: { order_id: 'o-3' } }),
      ['charge_unknown'],
    ],
    [
      'a payment that the provider does not know',
      ({ charges }) => charges.shift(),
      ['confirmed_unpaid', 'charge_missing'],
    ],
    [
      'a CONFIRMED order without its payment',
      ({ payments }) => payments.shift(),
      ['confirmed_unpaid', 'charge_unknown'],
    ],
    [
      'a CANCELLED order whose refund the provider has not made',
      ({ charges }) => (charges[1]!.amount_refunded = 0),
      ['cancelled_unrefunded', 'refund_differs'],
    ],
    [
      'a refund that the order has not heard of',
      ({ charges, payments }) => {
        charges[0]!.amount_refunded = 300
        payments[0]!.refunds = [{ amount: 300, status: 'DONE' }]
      },
      ['refund_differs'],
    ],
    [
      'a refund that is still pending',
      ({ payments }) => (payments[0]!.refunds = [{ amount: 300, status: 'PENDING' }]),
      ['refund_differs', 'payment_unwatched'],
    ],
    [
      'a lost order-placed',
      (state) => {
        state.orders[2]!.status = 'PENDING'
        state.reservations.pop()
        state.payments.pop()
        Object.assign(state.stock[0]!, { reserved: 0, told: { available: 8 } })
        state.available.set('pot', 8)
      },
      ['event_lost'],
    ],
    ['a lost stock-reserved', ({ orders }) => (orders[2]!.status = 'PENDING'), ['event_lost']],
    ['a lost payment-requested', ({ payments }) => payments.pop(), ['event_lost']],
    [
      'a lost payment-captured',
      ({ charges, payments }) => {
        charges.push({ ...charges[0]!, id: 'pi_3', metadata: { order_id: 'o-3' } })
        Object.assign(payments[2]!, { status: 'CAPTURED', providerId: 'pi_3' })
      },
      ['event_lost'],
    ],
    [
      'a lost order-confirmed',
      ({ reservations, stock }) => {
        reservations[0]!.status = 'reserved'
        Object.assign(stock[0]!, { reserved: 2, sold: 0 })
      },
      ['reservation_unsold'],
    ],
    [
      'a lost order-cancelled, whose stock stays reserved',
      ({ reservations, stock, available }) => {
        reservations[1]!.status = 'reserved'
        Object.assign(stock[0]!, { reserved: 2, told: { available: 6 } })
        available.set('pot', 6)
      },
      ['reservation_unreleased'],
    ],
    ['a lost order-cancelled of an order that inventory never saw', (s) => s.reservations.splice(1, 1), ['event_lost']],
    ['an order past its deadline', ({ orders }) => (orders[2]!.deadline = '2026-01-01T11:59:59.000Z'), ['order_stuck']],
    ['a deadline without a row that is due', ({ due }) => due.shift(), ['deadline_unwatched']],
    ['a charge that no worker will find', ({ due }) => due.pop(), ['payment_unwatched']],
    ['an order that its shopper does not see', ({ listed }) => listed.pop(), ['order_unlisted']],
    [
      'an oversold piece',
      ({ stock, available }) => {
        Object.assign(stock[0]!, { onHand: 1, supplies: { import: 2 }, told: { available: 0 } })
        available.set('pot', 0)
      },
      ['oversold'],
    ],
    [
      'a piece sold twice',
      ({ reservations }) => (reservations[0]!.lines[0]!.quantity = 2),
      ['reservation_unsold', 'stock_miscounted'],
    ],
    ['a supply that vanished', ({ stock }) => (stock[0]!.supplies = {}), ['stock_miscounted']],
    ['stock that has no record', ({ stock }) => stock.pop(), ['stock_miscounted', 'stock_miscounted']],
    ['a lost level', ({ available }) => available.set('pot', 8), ['availability_stale']],
    [
      'a level that was never told',
      ({ stock, available }) => {
        stock[0]!.told = { available: 8 }
        available.set('pot', 8)
      },
      ['availability_stale'],
    ],
    [
      'a reservation and a payment of an unknown order',
      ({ orders, due }) => {
        orders.pop()
        due.shift()
      },
      ['reservation_unknown', 'payment_unknown'],
    ],
    [
      'a row that does not parse',
      ({ unreadable }) => unreadable.push({ key: 'orders||order:{u-1}:o-4', reason: 'no status' }),
      ['unreadable'],
    ],
    ['events that nobody published', ({ unpublished }) => (unpublished['orders'] = 2), ['unpublished']],
  ]
  it.each(faults)('%s', (_, plant, expected) => {
    const state = quiet()
    plant(state)
    expect(kindsOf(state)).toEqual(expected)
  })
})
