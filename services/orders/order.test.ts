import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  decide,
  fingerprint,
  orderId,
  place,
  stateDiagram,
  statuses,
  totalOf,
  transitions,
  triggers,
  type Order,
  type Trigger,
} from './order.ts'

const usd = (amount: number) => ({ amount, currency: 'USD' })
const time = '2026-01-02T03:04:05.000Z'
const now = new Date(time)
const { order: placed, event: placedEvent } = place({
  userId: 'u-1',
  idempotencyKey: 'k',
  lines: [{ sku: 'a', quantity: 2, title: 'A', unitPrice: usd(150) }],
  total: usd(300),
  paymentMethod: 'pm_card_visa',
  now,
})

const trigger = (type: Trigger['type']): Trigger =>
  type === 'stock-reserved' || type === 'payment-captured' ? { type } : { type, reason: 'some_reason' }
const anyTrigger = fc.constantFrom(...triggers).map(trigger)
const anyStatus = fc.constantFrom(...statuses)
const terminal = (order: Order) => order.status === 'CONFIRMED' || order.status === 'CANCELLED'
/** The order after all of these, and every event on the way. */
const run = (order: Order, all: Trigger[]) =>
  all.reduce(
    (was, t) => {
      const decision = decide(was.order, t, now)
      return decision.outcome === 'changed' ? { order: decision.order, events: [...was.events, decision.event] } : was
    },
    { order, events: [placedEvent] },
  )

describe('decide', () => {
  test.each([
    ['PENDING', 'stock-reserved', 'RESERVED', 'orders.payment-requested.v1'],
    ['PENDING', 'stock-rejected', 'CANCELLED', 'orders.order-cancelled.v1'],
    ['PENDING', 'cancel', 'CANCELLED', 'orders.order-cancelled.v1'],
    ['RESERVED', 'payment-captured', 'CONFIRMED', 'orders.order-confirmed.v1'],
    ['RESERVED', 'payment-declined', 'CANCELLED', 'orders.order-cancelled.v1'],
    ['RESERVED', 'cancel', 'CANCELLED', 'orders.order-cancelled.v1'],
  ] as const)('%s, %s: becomes %s and publishes %s', (from, on, to, event) => {
    expect(decide({ ...placed, status: from }, trigger(on), now)).toMatchObject({
      order: { status: to },
      event: { type: event },
    })
  })

  test('a confirmed order, cancel: is rejected', () => {
    expect(decide({ ...placed, status: 'CONFIRMED' }, trigger('cancel'), now)).toEqual({
      outcome: 'rejected',
      reason: 'order_confirmed',
    })
  })

  test('a cancellation keeps its reason, in the order and in the event', () => {
    expect(decide(placed, { type: 'stock-rejected', reason: 'out_of_stock' }, now)).toMatchObject({
      order: { reason: 'out_of_stock' },
      event: { data: { orderId: placed.orderId, userId: 'u-1', reason: 'out_of_stock' } },
    })
  })

  test('every status and trigger: a change with its one event, no change, or a rejection', () => {
    fc.assert(
      fc.property(anyStatus, anyTrigger, (status, t) => {
        const order = { ...placed, status }
        const decision = decide(order, t, now)
        if (decision.outcome === 'rejected') return
        expect(decision.outcome).toBe(decision.order.status === status ? 'unchanged' : 'changed')
        if (decision.outcome === 'unchanged') expect(decision.order).toBe(order)
        else expect(decision.event.data.orderId).toBe(order.orderId)
      }),
    )
  })

  test('a terminal order stays as is, whatever arrives', () => {
    fc.assert(
      fc.property(fc.array(anyTrigger, { maxLength: 20 }), fc.array(anyTrigger, { maxLength: 20 }), (before, after) => {
        const { order } = run(placed, before)
        if (terminal(order)) expect(run(order, after).order).toBe(order)
      }),
    )
  })

  test('a repeat, at once or after others: changes and publishes nothing', () => {
    fc.assert(
      fc.property(fc.array(anyTrigger, { maxLength: 8 }), (all) => {
        const once = run(placed, all)
        const again = run(once.order, all)
        if (terminal(once.order)) expect(again.events).toEqual([placedEvent])
        expect(
          run(
            placed,
            all.flatMap((t) => [t, t]),
          ),
        ).toEqual(once)
      }),
    )
  })

  test('payment is requested at most once, and confirmation excludes cancellation', () => {
    fc.assert(
      fc.property(fc.array(anyTrigger, { maxLength: 20 }), (all) => {
        const types = run(placed, all).events.map((e) => e.type)
        expect(types.filter((t) => t === 'orders.payment-requested.v1').length).toBeLessThanOrEqual(1)
        expect(
          types.filter((t) => t === 'orders.order-confirmed.v1' || t === 'orders.order-cancelled.v1').length,
        ).toBeLessThanOrEqual(1)
      }),
    )
  })
})

test('place: the order is PENDING and its event says what to reserve', () => {
  expect(placed).toMatchObject({ status: 'PENDING', reason: '', placedAt: time, updatedAt: time })
  expect(placedEvent).toEqual({
    type: 'orders.order-placed.v1',
    data: {
      orderId: placed.orderId,
      userId: 'u-1',
      lines: [{ sku: 'a', quantity: 2 }],
      total: usd(300),
      paymentMethod: 'pm_card_visa',
    },
  })
})

describe('orderId', () => {
  test('is always the same for the same shopper and key', () => {
    // RFC 4648 base32 of sha256("u-1\0k"), computed independently: stored orders have this key.
    expect(orderId('u-1', 'k')).toBe('o-oe6n4cumoudjm5d732h5zlshje')
  })

  test('does not mix up shopper and key', () => {
    expect(new Set([orderId('u-1', '1k'), orderId('u-11', 'k'), orderId('u-1', 'k')]).size).toBe(3)
  })
})

describe('fingerprint', () => {
  const a = { sku: 'a', quantity: 1 }
  const b = { sku: 'b', quantity: 2 }
  test('the order of the lines does not matter, everything else does', () => {
    expect(fingerprint([a, b], 'pm')).toBe(fingerprint([b, a], 'pm'))
    const others = [fingerprint([a], 'pm'), fingerprint([a, { ...b, quantity: 1 }], 'pm'), fingerprint([a, b], 'pm2')]
    expect(others).not.toContain(fingerprint([a, b], 'pm'))
  })
})

describe('totalOf', () => {
  const line = (amount: number, quantity = 1, currency = 'USD') => ({
    sku: 'a',
    quantity,
    title: 'A',
    unitPrice: { amount, currency },
  })
  test('sums quantity times price', () =>
    expect(totalOf([line(150, 2), line(1)])).toEqual({ outcome: 'accepted', total: usd(301) }))
  test('rejects two currencies', () =>
    expect(totalOf([line(1), line(1, 1, 'EUR')])).toEqual({ outcome: 'rejected', reason: 'mixed_currencies' }))
  test('rejects a sum that is not exact', () =>
    expect(totalOf([line(Number.MAX_SAFE_INTEGER), line(1)])).toEqual({
      outcome: 'rejected',
      reason: 'total_too_large',
    }))
})

test('the diagram has every transition of the table', () => {
  const steps = statuses.flatMap((s) => triggers.map((t) => transitions[s][t])).filter((t) => t.outcome === 'changed')
  expect(stateDiagram().match(/ --> /g)).toHaveLength(steps.length + 3)
})
