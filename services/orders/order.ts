import { createHash } from 'node:crypto'
import * as z from 'zod'
import { hashName } from '#lib/hash-name.ts'

// What an order is and how it moves. No I/O.

export const moneySchema = z.object({ amount: z.int().min(0), currency: z.string() })
export type Money = z.infer<typeof moneySchema>

export const statuses = ['PENDING', 'RESERVED', 'CONFIRMED', 'CANCELLED'] as const
export type Status = (typeof statuses)[number]

export const paymentStatuses = ['none', 'requested', 'captured', 'declined', 'partially_refunded', 'refunded'] as const

/** An order, as stored. */
export const orderSchema = z.object({
  orderId: z.string(),
  userId: z.string(),
  status: z.enum(statuses),
  /** Why it was cancelled, else empty. */
  reason: z.string(),
  lines: z.array(z.object({ sku: z.string(), quantity: z.int(), title: z.string(), unitPrice: moneySchema })),
  total: moneySchema,
  paymentMethod: z.string(),
  /** Of the request that placed it: exposes another request with the same idempotency key. */
  fingerprint: z.string(),
  placedAt: z.string(),
  updatedAt: z.string(),
  /** When the order stops waiting; missing if it waits for nothing. */
  deadline: z.string().optional(),
  /** Each status that it has had, oldest first. */
  history: z.array(z.object({ status: z.enum(statuses), at: z.string() })).default([]),
  /** What payments has told; `refunded` in minor units of the total's currency. */
  payment: z
    .object({ status: z.enum(paymentStatuses), refunded: z.int().min(0) })
    .default({ status: 'none', refunded: 0 }),
})
export type Order = z.infer<typeof orderSchema>

/** How long an order waits for stock, and then for its payment, in milliseconds. */
export type Timeouts = { stockMs: number; paymentMs: number }

/** What moves an order: events of stock and payments, its deadlines, the shopper's cancellation. */
export const triggers = [
  'stock-reserved',
  'stock-rejected',
  'stock-timeout',
  'payment-captured',
  'payment-declined',
  'payment-timeout',
  'cancel',
] as const
export type Trigger =
  | { type: 'stock-reserved' | 'payment-captured' | 'stock-timeout' | 'payment-timeout' }
  | { type: 'stock-rejected' | 'payment-declined' | 'cancel'; reason: string }

export type OrderEvent =
  | {
      type: 'orders.order-placed.v1'
      data: {
        orderId: string
        userId: string
        lines: Line[]
        total: Money
        paymentMethod: string
      }
    }
  | {
      type: 'orders.payment-requested.v1'
      data: { orderId: string; userId: string; total: Money; paymentMethod: string }
    }
  | { type: 'orders.payment-withdrawn.v1'; data: { orderId: string; userId: string; reason: string } }
  | { type: 'orders.order-confirmed.v1'; data: { orderId: string; userId: string; lines: Line[] } }
  | { type: 'orders.order-cancelled.v1'; data: { orderId: string; userId: string; reason: string; lines: Line[] } }

type Line = { sku: string; quantity: number }
type Unchanged = { outcome: 'unchanged' }
type Rejected = { outcome: 'rejected'; reason: 'order_confirmed' | 'impossible' }
export type Transition =
  | { outcome: 'changed'; to: Status; emits: Exclude<OrderEvent['type'], 'orders.order-placed.v1'>[] }
  | Unchanged
  | Rejected

/** A repeat, or too late to matter. */
const unchanged: Transition = { outcome: 'unchanged' }
/** Too late to cancel. */
const tooLate: Transition = { outcome: 'rejected', reason: 'order_confirmed' }
/** No sequence of events leads here. */
const impossible: Transition = { outcome: 'rejected', reason: 'impossible' }
const cancelled: Transition = { outcome: 'changed', to: 'CANCELLED', emits: ['orders.order-cancelled.v1'] }
/** Payment was asked for and not refused: it must be forbidden, or refunded. */
const cancelledUnpaid: Transition = {
  outcome: 'changed',
  to: 'CANCELLED',
  emits: ['orders.order-cancelled.v1', 'orders.payment-withdrawn.v1'],
}

/**
 * The whole saga. Payment is requested only after stock has replied, so a payment event never meets
 * PENDING and a stock rejection never meets RESERVED. A cancelled order may still receive
 * `stock-reserved` or `payment-captured`: inventory and payments undo that on `order-cancelled` and
 * `payment-withdrawn`. A deadline that has passed moves only an order that still waits for it.
 */
export const transitions: Record<Status, Record<Trigger['type'], Transition>> = {
  PENDING: {
    'stock-reserved': { outcome: 'changed', to: 'RESERVED', emits: ['orders.payment-requested.v1'] },
    'stock-rejected': cancelled,
    'stock-timeout': cancelled,
    'payment-captured': impossible,
    'payment-declined': impossible,
    'payment-timeout': unchanged,
    cancel: cancelled,
  },
  RESERVED: {
    'stock-reserved': unchanged,
    'stock-rejected': impossible,
    'stock-timeout': unchanged,
    'payment-captured': { outcome: 'changed', to: 'CONFIRMED', emits: ['orders.order-confirmed.v1'] },
    'payment-declined': cancelled,
    'payment-timeout': cancelledUnpaid,
    cancel: cancelledUnpaid,
  },
  CONFIRMED: {
    'stock-reserved': unchanged,
    'stock-rejected': impossible,
    'stock-timeout': unchanged,
    'payment-captured': unchanged,
    'payment-declined': impossible,
    'payment-timeout': unchanged,
    cancel: tooLate,
  },
  CANCELLED: {
    'stock-reserved': unchanged,
    'stock-rejected': unchanged,
    'stock-timeout': unchanged,
    'payment-captured': unchanged,
    'payment-declined': unchanged,
    'payment-timeout': unchanged,
    cancel: unchanged,
  },
}

/** The reasons of cancellations that no trigger brings along. */
const reasonOf: Partial<Record<Trigger['type'], string>> = {
  'stock-timeout': 'stock_timeout',
  'payment-timeout': 'payment_timeout',
}

/** A new or changed order, and the events to publish with it. */
export type Changed = { outcome: 'changed'; order: Order; events: OrderEvent[] }
export type Decision = Changed | (Unchanged & { order: Order }) | Rejected

/** Decides what becomes of `order` when `trigger` arrives at the time `now`. */
export function decide(order: Order, trigger: Trigger, now: Date, timeouts: Timeouts): Decision {
  const transition = transitions[order.status][trigger.type]
  if (transition.outcome === 'rejected') return transition
  const payment = paymentAfter(order, trigger, transition)
  const at = now.toISOString()
  if (transition.outcome === 'unchanged') {
    if (payment === order.payment) return { outcome: 'unchanged', order }
    return { outcome: 'changed', order: { ...order, payment, updatedAt: at }, events: [] }
  }
  const { to, emits } = transition
  const { deadline: _, ...rest } = order
  const changed: Order = {
    ...rest,
    status: to,
    reason: to !== 'CANCELLED' ? '' : 'reason' in trigger ? trigger.reason : (reasonOf[trigger.type] ?? ''),
    updatedAt: at,
    ...(to === 'RESERVED' && { deadline: new Date(now.getTime() + timeouts.paymentMs).toISOString() }),
    history: [...order.history, { status: to, at }],
    payment,
  }
  return { outcome: 'changed', order: changed, events: emits.map((type) => eventOf(type, changed)) }
}

/** Returns what is known of the payment after a trigger; the same object if that is nothing new. */
function paymentAfter({ payment }: Order, trigger: Trigger, transition: Transition): Order['payment'] {
  // A cancelled order may have been charged all the same. Its refund may be known before.
  if (trigger.type === 'payment-captured' && (payment.status === 'requested' || transition.outcome === 'changed'))
    return { status: 'captured', refunded: 0 }
  if (transition.outcome !== 'changed') return payment
  if (trigger.type === 'payment-declined') return { ...payment, status: 'declined' }
  if (transition.emits.includes('orders.payment-requested.v1')) return { ...payment, status: 'requested' }
  return payment
}

/**
 * Decides about a refund: `refunded` is the sum of all so far, so a late or repeated one is
 * harmless.
 */
export function decideRefund(order: Order, refunded: number, now: Date): Decision {
  if (refunded <= order.payment.refunded) return { outcome: 'unchanged', order }
  const status = refunded >= order.total.amount ? 'refunded' : 'partially_refunded'
  return {
    outcome: 'changed',
    order: { ...order, payment: { status, refunded }, updatedAt: now.toISOString() },
    events: [],
  }
}

/** What a shopper ordered, with the current prices. */
export type NewOrder = {
  userId: string
  idempotencyKey: string
  lines: Order['lines']
  total: Money
  paymentMethod: string
  /** The total that the shopper was shown, if the request named one. */
  expectedTotal?: Money | undefined
  now: Date
  timeouts: Timeouts
}

/** Returns a new order and the event that starts the saga. */
export function place(placement: NewOrder): Changed {
  const { userId, idempotencyKey, lines, total, paymentMethod, expectedTotal, now, timeouts } = placement
  const at = now.toISOString()
  const order: Order = {
    orderId: orderId(userId, idempotencyKey),
    userId,
    status: 'PENDING',
    reason: '',
    lines,
    total,
    paymentMethod,
    fingerprint: fingerprint(lines, paymentMethod, expectedTotal),
    placedAt: at,
    updatedAt: at,
    deadline: new Date(now.getTime() + timeouts.stockMs).toISOString(),
    history: [{ status: 'PENDING', at }],
    payment: { status: 'none', refunded: 0 },
  }
  return { outcome: 'changed', order, events: [eventOf('orders.order-placed.v1', order)] }
}

/** Returns the id of the one order that a shopper and an idempotency key name. */
export const orderId = (userId: string, idempotencyKey: string): string =>
  `o-${hashName(`${userId}\0${idempotencyKey}`, 26)}`

/** Returns a hash that tells requests apart; the order of the lines does not matter. */
export function fingerprint(
  lines: { sku: string; quantity: number }[],
  paymentMethod: string,
  expectedTotal?: Money,
): string {
  const sorted = lines.map(({ sku, quantity }) => [sku, quantity] as const).sort(([a], [b]) => (a < b ? -1 : 1))
  return createHash('sha256')
    .update(
      JSON.stringify([sorted, paymentMethod, ...(expectedTotal ? [expectedTotal.amount, expectedTotal.currency] : [])]),
    )
    .digest('hex')
}

/**
 * Returns the sum of the lines. Rejected are two currencies, and a sum that is not an exact number.
 */
export function totalOf(
  lines: Order['lines'],
): { outcome: 'accepted'; total: Money } | { outcome: 'rejected'; reason: 'mixed_currencies' | 'total_too_large' } {
  const currency = lines[0]?.unitPrice.currency ?? ''
  if (lines.some((line) => line.unitPrice.currency !== currency))
    return { outcome: 'rejected', reason: 'mixed_currencies' }
  const amount = lines.reduce((sum, line) => sum + line.quantity * line.unitPrice.amount, 0)
  return Number.isSafeInteger(amount)
    ? { outcome: 'accepted', total: { amount, currency } }
    : { outcome: 'rejected', reason: 'total_too_large' }
}

/** Returns the state machine as a Mermaid diagram, for the docs. */
export function stateDiagram(): string {
  const arrows = statuses.flatMap((from) =>
    triggers.flatMap((trigger) => {
      const transition = transitions[from][trigger]
      return transition.outcome === 'changed'
        ? [`    ${from} --> ${transition.to}: ${trigger} / ${transition.emits.map((e) => e.split('.')[1]).join(', ')}`]
        : []
    }),
  )
  return [
    'stateDiagram-v2',
    '    [*] --> PENDING: place / order-placed',
    ...arrows,
    '    CONFIRMED --> [*]',
    '    CANCELLED --> [*]',
    '',
  ].join('\n')
}

function eventOf(type: OrderEvent['type'], order: Order): OrderEvent {
  const { orderId, userId, total, paymentMethod, reason } = order
  const lines = order.lines.map(({ sku, quantity }) => ({ sku, quantity }))
  switch (type) {
    case 'orders.order-placed.v1':
      return { type, data: { orderId, userId, lines, total, paymentMethod } }
    case 'orders.payment-requested.v1':
      return { type, data: { orderId, userId, total, paymentMethod } }
    case 'orders.payment-withdrawn.v1':
      return { type, data: { orderId, userId, reason } }
    case 'orders.order-confirmed.v1':
      return { type, data: { orderId, userId, lines } }
    case 'orders.order-cancelled.v1':
      return { type, data: { orderId, userId, reason, lines } }
  }
}
