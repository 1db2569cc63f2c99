import { createHash } from 'node:crypto'
import * as z from 'zod'
import { hashName } from '#lib/hash-name.ts'

// What an order is and how it moves. No I/O.

export const moneySchema = z.object({ amount: z.int().min(0), currency: z.string() })
export type Money = z.infer<typeof moneySchema>

export const statuses = ['PENDING', 'RESERVED', 'CONFIRMED', 'CANCELLED'] as const
export type Status = (typeof statuses)[number]

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
})
export type Order = z.infer<typeof orderSchema>

/** What moves an order: events of stock and payments, and the shopper's cancellation. */
export const triggers = ['stock-reserved', 'stock-rejected', 'payment-captured', 'payment-declined', 'cancel'] as const
export type Trigger =
  | { type: 'stock-reserved' | 'payment-captured' }
  | { type: 'stock-rejected' | 'payment-declined' | 'cancel'; reason: string }

export type OrderEvent =
  | {
      type: 'orders.order-placed.v1'
      data: {
        orderId: string
        userId: string
        lines: { sku: string; quantity: number }[]
        total: Money
        paymentMethod: string
      }
    }
  | {
      type: 'orders.payment-requested.v1'
      data: { orderId: string; userId: string; total: Money; paymentMethod: string }
    }
  | { type: 'orders.order-confirmed.v1'; data: { orderId: string; userId: string } }
  | { type: 'orders.order-cancelled.v1'; data: { orderId: string; userId: string; reason: string } }

type Unchanged = { outcome: 'unchanged' }
type Rejected = { outcome: 'rejected'; reason: 'order_confirmed' | 'impossible' }
export type Transition =
  | { outcome: 'changed'; to: Status; emits: Exclude<OrderEvent['type'], 'orders.order-placed.v1'> }
  | Unchanged
  | Rejected

/** A repeat, or too late to matter. */
const unchanged: Transition = { outcome: 'unchanged' }
/** Too late to cancel. */
const tooLate: Transition = { outcome: 'rejected', reason: 'order_confirmed' }
/** No sequence of events leads here. */
const impossible: Transition = { outcome: 'rejected', reason: 'impossible' }
const cancelled: Transition = { outcome: 'changed', to: 'CANCELLED', emits: 'orders.order-cancelled.v1' }

/**
 * The whole saga. Payment is requested only after stock has replied, so a payment event never meets
 * PENDING and a stock rejection never meets RESERVED. A cancelled order may still receive
 * `stock-reserved` or `payment-captured`: inventory and payments undo that on `order-cancelled`.
 */
export const transitions: Record<Status, Record<Trigger['type'], Transition>> = {
  PENDING: {
    'stock-reserved': { outcome: 'changed', to: 'RESERVED', emits: 'orders.payment-requested.v1' },
    'stock-rejected': cancelled,
    'payment-captured': impossible,
    'payment-declined': impossible,
    cancel: cancelled,
  },
  RESERVED: {
    'stock-reserved': unchanged,
    'stock-rejected': impossible,
    'payment-captured': { outcome: 'changed', to: 'CONFIRMED', emits: 'orders.order-confirmed.v1' },
    'payment-declined': cancelled,
    cancel: cancelled,
  },
  CONFIRMED: {
    'stock-reserved': unchanged,
    'stock-rejected': impossible,
    'payment-captured': unchanged,
    'payment-declined': impossible,
    cancel: tooLate,
  },
  CANCELLED: {
    'stock-reserved': unchanged,
    'stock-rejected': unchanged,
    'payment-captured': unchanged,
    'payment-declined': unchanged,
    cancel: unchanged,
  },
}

/** A new or changed order, and the event to publish with it. */
export type Changed = { outcome: 'changed'; order: Order; event: OrderEvent }
export type Decision = Changed | (Unchanged & { order: Order }) | Rejected

/** Decides what becomes of `order` when `trigger` arrives at the time `now`. */
export function decide(order: Order, trigger: Trigger, now: Date): Decision {
  const transition = transitions[order.status][trigger.type]
  switch (transition.outcome) {
    case 'unchanged':
      return { outcome: 'unchanged', order }
    case 'rejected':
      return transition
    case 'changed': {
      const reason = transition.to === 'CANCELLED' && 'reason' in trigger ? trigger.reason : ''
      const changed = { ...order, status: transition.to, reason, updatedAt: now.toISOString() }
      return { outcome: 'changed', order: changed, event: eventOf(transition.emits, changed) }
    }
  }
}

/** What a shopper ordered, with the current prices. */
export type NewOrder = {
  userId: string
  idempotencyKey: string
  lines: Order['lines']
  total: Money
  paymentMethod: string
  now: Date
}

/** Returns a new order and the event that starts the saga. */
export function place({ userId, idempotencyKey, lines, total, paymentMethod, now }: NewOrder): Changed {
  const order: Order = {
    orderId: orderId(userId, idempotencyKey),
    userId,
    status: 'PENDING',
    reason: '',
    lines,
    total,
    paymentMethod,
    fingerprint: fingerprint(lines, paymentMethod),
    placedAt: now.toISOString(),
    updatedAt: now.toISOString(),
  }
  return { outcome: 'changed', order, event: eventOf('orders.order-placed.v1', order) }
}

/** Returns the id of the one order that a shopper and an idempotency key name. */
export const orderId = (userId: string, idempotencyKey: string): string =>
  `o-${hashName(`${userId}\0${idempotencyKey}`, 26)}`

/** Returns a hash that tells requests apart; the order of the lines does not matter. */
export function fingerprint(lines: { sku: string; quantity: number }[], paymentMethod: string): string {
  const sorted = lines.map(({ sku, quantity }) => [sku, quantity] as const).sort(([a], [b]) => (a < b ? -1 : 1))
  return createHash('sha256')
    .update(JSON.stringify([sorted, paymentMethod]))
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
        ? [`    ${from} --> ${transition.to}: ${trigger} / ${transition.emits.split('.')[1]}`]
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
  switch (type) {
    case 'orders.order-placed.v1':
      return {
        type,
        data: {
          orderId,
          userId,
          lines: order.lines.map(({ sku, quantity }) => ({ sku, quantity })),
          total,
          paymentMethod,
        },
      }
    case 'orders.payment-requested.v1':
      return { type, data: { orderId, userId, total, paymentMethod } }
    case 'orders.order-confirmed.v1':
      return { type, data: { orderId, userId } }
    case 'orders.order-cancelled.v1':
      return { type, data: { orderId, userId, reason } }
  }
}
