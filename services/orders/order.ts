import { createHash } from 'node:crypto'
import * as z from 'zod'

// What an order is and how it moves, without I/O.

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
  /** Of the request that placed it: the same idempotency key with another request shows by it. */
  fingerprint: z.string(),
  placedAt: z.string(),
  updatedAt: z.string(),
})
export type Order = z.infer<typeof orderSchema>

/** What moves an order: what stock and payments tell, and the shopper's wish. */
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

type Step = { to: Status; emits: OrderEvent['type'] }
/**
 * `nothing`: a repeat, or too late to matter. `too late`: it is refused. `impossible`: no order of
 * events leads here.
 */
export type Transition = Step | 'nothing' | 'too late' | 'impossible'

const cancelled: Step = { to: 'CANCELLED', emits: 'orders.order-cancelled.v1' }

/**
 * The whole saga. Stock answers before payment is asked for, so a payment's answer never meets
 * PENDING and a rejection of stock never meets RESERVED. A cancelled order may still hear that its
 * stock was reserved or its payment captured: inventory and payments undo that when they hear
 * `order-cancelled`.
 */
export const transitions: Record<Status, Record<Trigger['type'], Transition>> = {
  PENDING: {
    'stock-reserved': { to: 'RESERVED', emits: 'orders.payment-requested.v1' },
    'stock-rejected': cancelled,
    'payment-captured': 'impossible',
    'payment-declined': 'impossible',
    cancel: cancelled,
  },
  RESERVED: {
    'stock-reserved': 'nothing',
    'stock-rejected': 'impossible',
    'payment-captured': { to: 'CONFIRMED', emits: 'orders.order-confirmed.v1' },
    'payment-declined': cancelled,
    cancel: cancelled,
  },
  CONFIRMED: {
    'stock-reserved': 'nothing',
    'stock-rejected': 'impossible',
    'payment-captured': 'nothing',
    'payment-declined': 'impossible',
    cancel: 'too late',
  },
  CANCELLED: {
    'stock-reserved': 'nothing',
    'stock-rejected': 'nothing',
    'payment-captured': 'nothing',
    'payment-declined': 'nothing',
    cancel: 'nothing',
  },
}

/** A changed order with the event that tells of it; without events the order is as it was. */
export type Decided = { order: Order; events: OrderEvent[] }
export type Rejection = { rejection: 'order_confirmed' | 'impossible' }

/** What becomes of `order` when `trigger` comes at the time `now` (RFC 3339). */
export function decide(order: Order, trigger: Trigger, now: string): Decided | Rejection {
  const transition = transitions[order.status][trigger.type]
  if (transition === 'nothing') return { order, events: [] }
  if (transition === 'too late') return { rejection: 'order_confirmed' }
  if (transition === 'impossible') return { rejection: 'impossible' }
  const reason = transition.to === 'CANCELLED' && 'reason' in trigger ? trigger.reason : ''
  const changed = { ...order, status: transition.to, reason, updatedAt: now }
  return { order: changed, events: [eventOf(transition.emits, changed)] }
}

/** What was asked for, with the prices that hold now. */
export type NewOrder = {
  userId: string
  idempotencyKey: string
  lines: Order['lines']
  total: Money
  paymentMethod: string
  now: string
}

/** A new order and the event that starts the saga. */
export function place(o: NewOrder): Decided {
  const order: Order = {
    orderId: orderId(o.userId, o.idempotencyKey),
    userId: o.userId,
    status: 'PENDING',
    reason: '',
    lines: o.lines,
    total: o.total,
    paymentMethod: o.paymentMethod,
    fingerprint: fingerprint(o.lines, o.paymentMethod),
    placedAt: o.now,
    updatedAt: o.now,
  }
  return { order, events: [eventOf('orders.order-placed.v1', order)] }
}

/** The one order that a shopper and an idempotency key name. */
export function orderId(userId: string, idempotencyKey: string): string {
  const hash = createHash('sha256').update(`${userId}\0${idempotencyKey}`).digest()
  return `o-${base32(hash).slice(0, 26)}`
}

/** Tells requests apart; the order of the lines does not matter. */
export function fingerprint(lines: { sku: string; quantity: number }[], paymentMethod: string): string {
  const sorted = lines.map(({ sku, quantity }) => [sku, quantity] as const).sort(([a], [b]) => (a < b ? -1 : 1))
  return createHash('sha256')
    .update(JSON.stringify([sorted, paymentMethod]))
    .digest('hex')
}

/**
 * The sum of the lines, 'mixed_currencies', or 'too_large' for a number that is not exact any more.
 */
export function totalOf(lines: Order['lines']): Money | 'mixed_currencies' | 'too_large' {
  const currency = lines[0]?.unitPrice.currency ?? ''
  if (lines.some((l) => l.unitPrice.currency !== currency)) return 'mixed_currencies'
  const amount = lines.reduce((sum, l) => sum + l.quantity * l.unitPrice.amount, 0)
  return Number.isSafeInteger(amount) ? { amount, currency } : 'too_large'
}

/** The state machine as a Mermaid diagram, for the docs. */
export function stateDiagram(): string {
  const arrows = statuses.flatMap((from) =>
    triggers.flatMap((trigger) => {
      const transition = transitions[from][trigger]
      return typeof transition === 'string'
        ? []
        : [`    ${from} --> ${transition.to}: ${trigger} / ${transition.emits.split('.')[1]}`]
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

/** RFC 4648 base32 in lower case, without padding. */
function base32(bytes: Uint8Array): string {
  let bits = 0n
  for (const byte of bytes) bits = (bits << 8n) | BigInt(byte)
  const spare = (5 - ((bytes.length * 8) % 5)) % 5
  bits <<= BigInt(spare)
  const length = Math.ceil((bytes.length * 8) / 5)
  return Array.from(
    { length },
    (_, i) => 'abcdefghijklmnopqrstuvwxyz234567'[Number((bits >> BigInt(5 * (length - 1 - i))) & 31n)],
  ).join('')
}
