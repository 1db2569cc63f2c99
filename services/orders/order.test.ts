import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  decide,
  decideRefund,
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
const timeouts = { stockMs: 900_000, paymentMs: 600_000 }
const {
  order: placed,
  events: [placedEvent],
} = place({
  userId: 'u-1',
  idempotencyKey: 'k',
  lines: [{ sku: 'a', quantity: 2, title: 'A', unitPrice: usd(150) }],
  total: usd(300),
  paymentMethod: 'pm_card_visa',
  now,
  timeouts,
})
const step = (order: Order, t: Trigger) => decide(order, t, now, timeouts)

const trigger = (type: Trigger['type']): Trigger =>
  type === 'stock-rejected' || type === 'payment-declined' || type === 'cancel'
    ? { type, reason: 'some_reason' }
    : { type }
const anyTrigger = fc.constantFrom(...triggers).map(trigger)
const anyStatus = fc.constantFrom(...statuses)
const terminal = (order: Order) => order.status === 'CONFIRMED' || order.status === 'CANCELLED'
/** The order after all of these, and every event on the way. */
const run = (order: Order, all: Trigger[]) =>
  all.reduce(
    (was, t) => {
      const decision = step(was.order, t)
      return decision.outcome === 'changed'
        ? { order: decision.order, events: [...was.events, ...decision.events] }
        : was
    },
    { order, events: [placedEvent!] },
  )

describe('decide', () => {
  test.each([
    ['PENDING', 'stock-reserved', 'RESERVED', ['orders.payment-requested.v1'], 'requested'],
    ['PENDING', 'stock-rejected', 'CANCELLED', ['orders.order-cancelled.v1'], 'none'],
    ['PENDING', 'stock-timeout', 'CANCELLED', ['orders.order-cancelled.v1'], 'none'],
    ['PENDING', 'cancel', 'CANCELLED', ['orders.order-cancelled.v1'], 'none'],
    ['RESERVED', 'payment-captured', 'CONFIRMED', ['orders.order-confirmed.v1'], 'captured'],
    ['RESERVED', 'payment-declined', 'CANCELLED', ['orders.order-cancelled.v1'], 'declined'],
    [
      'RESERVED',
      'payment-timeout',
      'CANCELLED',
      ['orders.order-cancelled.v1', 'orders.payment-withdrawn.v1'],
      'requested',
    ],
    ['RESERVED', 'cancel', 'CANCELLED', ['orders.order-cancelled.v1', 'orders.payment-withdrawn.v1'], 'requested'],
  ] as const)('%s, %s: becomes %s and publishes %j; its payment is %s', (from, on, to, events, payment) => {
    const asked = { status: from === 'PENDING' ? 'none' : 'requested', refunded: 0 } as const
    const decision = step({ ...placed, status: from, payment: asked }, trigger(on))
    expect(decision).toMatchObject({
      order: { status: to, history: [...placed.history, { status: to, at: time }], payment: { status: payment } },
    })
    expect(decision.outcome === 'changed' && decision.events.map(({ type }) => type)).toEqual(events)
  })

  test('an order waits until its deadline, and a terminal one has none', () => {
    expect(placed.deadline).toBe('2026-01-02T03:19:05.000Z')
    const { order: reserved } = run(placed, [trigger('stock-reserved')])
    expect(reserved.deadline).toBe('2026-01-02T03:14:05.000Z')
    for (const last of ['payment-captured', 'payment-timeout'] as const)
      expect(run(reserved, [trigger(last)]).order).not.toHaveProperty('deadline')
  })

  test('a payment that is captured after the cancellation shows in the order, which stays cancelled', () => {
    const { order, events } = run(placed, [trigger('stock-reserved'), trigger('cancel')])
    const late = run(order, [trigger('payment-captured')])
    expect(late.order).toMatchObject({ status: 'CANCELLED', payment: { status: 'captured', refunded: 0 } })
    expect(late.events).toHaveLength(1)
    expect(events.map(({ type }) => type)).toContain('orders.payment-withdrawn.v1')
  })

  test('a confirmed order, cancel: is rejected', () => {
    expect(step({ ...placed, status: 'CONFIRMED' }, trigger('cancel'))).toEqual({
      outcome: 'rejected',
      reason: 'order_confirmed',
    })
  })

  test('a cancellation keeps its reason, in the order and in the event', () => {
    const lines = [{ sku: 'a', quantity: 2 }]
    expect(step(placed, { type: 'stock-rejected', reason: 'out_of_stock' })).toMatchObject({
      order: { reason: 'out_of_stock' },
      events: [{ data: { orderId: placed.orderId, userId: 'u-1', reason: 'out_of_stock', lines } }],
    })
    expect(step(placed, { type: 'stock-timeout' })).toMatchObject({ order: { reason: 'stock_timeout' } })
  })

  test('every status and trigger: a change with its events, no change, or a rejection', () => {
    fc.assert(
      fc.property(anyStatus, anyTrigger, (status, t) => {
        const order = { ...placed, status }
        const decision = step(order, t)
        if (decision.outcome === 'rejected') return
        if (decision.outcome === 'unchanged') {
          expect(decision.order).toBe(order)
          return
        }
        expect(decision.events.length > 0).toBe(decision.order.status !== status)
        for (const event of decision.events) expect(event.data.orderId).toBe(order.orderId)
      }),
    )
  })

  test('a terminal order stays as is, whatever arrives', () => {
    fc.assert(
      fc.property(fc.array(anyTrigger, { maxLength: 20 }), fc.array(anyTrigger, { maxLength: 20 }), (before, after) => {
        const { order } = run(placed, before)
        const { status, reason, history } = order
        if (terminal(order)) expect(run(order, after).order).toMatchObject({ status, reason, history })
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

describe('a refund', () => {
  const { order } = run(placed, [trigger('stock-reserved'), trigger('payment-captured')])
  test.each([
    [100, 'partially_refunded'],
    [300, 'refunded'],
  ])('of %d of 300 so far: the payment is %s', (refunded, status) => {
    expect(decideRefund(order, refunded, now)).toMatchObject({ order: { payment: { status, refunded } }, events: [] })
  })
  test('that comes again, or late: changes nothing', () => {
    const after = decideRefund(order, 200, now)
    if (after.outcome !== 'changed') throw new Error('no change')
    for (const refunded of [100, 200])
      expect(decideRefund(after.order, refunded, now)).toEqual({ outcome: 'unchanged', order: after.order })
    expect(step(after.order, trigger('payment-captured'))).toEqual({ outcome: 'unchanged', order: after.order })
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
    others.push(fingerprint([a, b], 'pm', { amount: 1, currency: 'USD' }))
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
