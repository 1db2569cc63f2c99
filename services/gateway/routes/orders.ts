import * as z from 'zod'
import { OrderPaymentStatus, OrderStatus, type Order } from '#protos/shop/orders/v1/orders.ts'
import type { Clients } from '../clients.ts'
import { idempotencyKey } from '../http/idempotency.ts'
import { operation } from '../http/operation.ts'
import {
  list,
  money,
  moneyOut,
  pageOf,
  paging,
  sku,
  text,
  time,
  toMoney,
  toPage,
  wholeNumber,
} from '../http/schemas.ts'

const status = z.enum(['PENDING', 'RESERVED', 'CONFIRMED', 'CANCELLED'])

const paymentStatus = z.enum(['NONE', 'REQUESTED', 'CAPTURED', 'DECLINED', 'PARTIALLY_REFUNDED', 'REFUNDED'])

const order = z
  .object({
    id: z.string().meta({ examples: ['o-3f1c9a'] }),
    status,
    reason: z
      .string()
      .nullable()
      .meta({
        description:
          'Why it was cancelled, otherwise null: ' +
          'out_of_stock, stock_timeout, card_declined, insufficient_funds, payment_timeout, cancelled_by_shopper …',
        examples: [null],
      }),
    lines: z.array(
      z.object({
        sku: z.string().meta({ examples: ['clay-plant-pot-large'] }),
        quantity: z.int().meta({ examples: [2] }),
        title: z.string().meta({ description: 'As of when the order was placed.', examples: ['Clay Plant Pot'] }),
        unitPrice: moneyOut,
      }),
    ),
    total: moneyOut,
    payment: z.object({
      status: paymentStatus.meta({
        description: 'NONE: not requested yet, or never.',
        examples: ['CAPTURED'],
      }),
      refunded: moneyOut.meta({ description: 'The sum of all refunds so far.' }),
    }),
    history: z
      .array(z.object({ status, at: time }))
      .meta({ description: 'Each status that the order has had, oldest first.' }),
    placedAt: time,
    updatedAt: time,
  })
  .meta({ id: 'Order' })

const statusNames: Record<number, z.infer<typeof status>> = {
  [OrderStatus.ORDER_STATUS_PENDING]: 'PENDING',
  [OrderStatus.ORDER_STATUS_RESERVED]: 'RESERVED',
  [OrderStatus.ORDER_STATUS_CONFIRMED]: 'CONFIRMED',
  [OrderStatus.ORDER_STATUS_CANCELLED]: 'CANCELLED',
}

const paymentStatusNames: Record<number, z.infer<typeof paymentStatus>> = {
  [OrderPaymentStatus.ORDER_PAYMENT_STATUS_NONE]: 'NONE',
  [OrderPaymentStatus.ORDER_PAYMENT_STATUS_REQUESTED]: 'REQUESTED',
  [OrderPaymentStatus.ORDER_PAYMENT_STATUS_CAPTURED]: 'CAPTURED',
  [OrderPaymentStatus.ORDER_PAYMENT_STATUS_DECLINED]: 'DECLINED',
  [OrderPaymentStatus.ORDER_PAYMENT_STATUS_PARTIALLY_REFUNDED]: 'PARTIALLY_REFUNDED',
  [OrderPaymentStatus.ORDER_PAYMENT_STATUS_REFUNDED]: 'REFUNDED',
}

/** Returns the name of a status of a message. Throws on one that this gateway does not know. */
function nameOf<T>(names: Record<number, T>, status: number): T {
  const name = names[status]
  if (name === undefined) throw new Error(`orders returned the unknown status ${status}`)
  return name
}

function toOrder(message: Order | undefined): z.infer<typeof order> {
  const { id, reason, lines, total, placedAt, updatedAt, payment, history } = message!
  return {
    id,
    status: nameOf(statusNames, message!.status),
    reason: reason === '' ? null : reason,
    lines: lines.map(({ sku, quantity, title, unitPrice }) => ({
      sku,
      quantity,
      title,
      unitPrice: toMoney(unitPrice),
    })),
    total: toMoney(total),
    payment: {
      status: nameOf(paymentStatusNames, payment!.status),
      refunded: toMoney(payment!.refunded),
    },
    history: history.map(({ status, at }) => ({ status: nameOf(statusNames, status), at })),
    placedAt,
    updatedAt,
  }
}

const placement = z
  .strictObject({
    lines: list(z.strictObject({ sku, quantity: wholeNumber(1, 1_000).meta({ examples: [2] }) }), 1, 100).superRefine(
      (lines, context) => {
        const seen = new Set<string>()
        for (const [i, { sku }] of lines.entries()) {
          if (seen.has(sku)) context.addIssue({ code: 'custom', path: [i, 'sku'], message: 'must not be repeated' })
          seen.add(sku)
        }
      },
    ),
    payment: z.strictObject({
      method: z
        .string()
        .max(100)
        .regex(/^[A-Za-z][\w-]*$/, 'must be a token of the payment provider, never a card number')
        .meta({
          description:
            "The payment provider's token. The sandbox accepts Stripe's test tokens: " +
            'pm_card_visa, pm_card_chargeDeclined, pm_card_chargeDeclinedInsufficientFunds.',
          examples: ['pm_card_visa'],
        }),
    }),
    expectedTotal: money.optional().meta({
      description: 'The total that the shopper was shown. If it is another one now, no order is placed.',
    }),
  })
  .meta({ id: 'OrderPlacement' })

const orderId = z.object({ orderId: text(1, 200).meta({ examples: ['o-3f1c9a'] }) })

export const orders = ({ orders }: Clients) => [
  operation({
    id: 'placeOrder',
    method: 'post',
    path: '/v1/orders',
    tag: 'Orders',
    access: 'user',
    summary: 'Place an order',
    description:
      'Returns the order before its stock is reserved and its payment charged: poll it until it is CONFIRMED or ' +
      'CANCELLED. An Idempotency-Key always names the same order, so a request whose response was lost can be retried.',
    headers: z.object({
      'Idempotency-Key': idempotencyKey('Identifies this order among yours.'),
    }),
    body: placement,
    responses: {
      202: {
        description: 'Placed',
        schema: order,
        headers: {
          Location: 'The path of the order',
          traceparent: 'The trace of everything that happens to this order (W3C Trace Context)',
        },
      },
    },
    problems: [
      'user_not_found',
      'user_deactivated',
      'sku_not_found',
      'mixed_currencies',
      'price_changed',
      'unknown_payment_method',
      'orders_busy',
      'commit_unknown',
    ],
    async handle({ user, headers: { 'Idempotency-Key': key }, body, call }) {
      const { order, replayed } = await orders.placeOrder(
        {
          userId: user.id,
          idempotencyKey: key,
          lines: body.lines,
          paymentMethod: body.payment.method,
          expectedTotal: body.expectedTotal,
        },
        call,
      )
      const headers = { Location: `/v1/orders/${encodeURIComponent(order!.id)}` }
      return { status: 202, body: toOrder(order), headers, replayed }
    },
  }),
  operation({
    id: 'listOrders',
    method: 'get',
    path: '/v1/orders',
    tag: 'Orders',
    access: 'user',
    summary: 'Your orders, newest first',
    query: z.strictObject(paging),
    responses: { 200: { description: 'A page of orders', schema: pageOf(order) } },
    problems: ['bad_cursor'],
    async handle({ user, query, call }) {
      const { orders: found, nextCursor } = await orders.listOrders(
        { userId: user.id, limit: query.limit, cursor: query.cursor ?? '' },
        call,
      )
      return { status: 200, body: toPage(found.map(toOrder), nextCursor) }
    },
  }),
  operation({
    id: 'getOrder',
    method: 'get',
    path: '/v1/orders/{orderId}',
    tag: 'Orders',
    access: 'user',
    summary: 'One of your orders',
    params: orderId,
    responses: { 200: { description: 'The order', schema: order } },
    problems: ['order_not_found'],
    handle: async ({ user, params, call }) => ({
      status: 200,
      body: toOrder((await orders.getOrder({ userId: user.id, orderId: params.orderId }, call)).order),
    }),
  }),
  operation({
    id: 'cancelOrder',
    method: 'post',
    path: '/v1/orders/{orderId}/cancel',
    tag: 'Orders',
    access: 'user',
    summary: 'Cancel an order that is not confirmed yet',
    description: 'Idempotent, also without a key. Reserved stock is released and a payment refunded.',
    params: orderId,
    headers: z.object({ 'Idempotency-Key': idempotencyKey('Identifies this cancellation.').optional() }),
    body: z.strictObject({}).optional().meta({ description: 'Empty, or an empty object.' }),
    responses: { 200: { description: 'The order', schema: order } },
    problems: ['order_not_found', 'order_confirmed'],
    async handle({ user, params, call }) {
      const { order, replayed } = await orders.cancelOrder({ userId: user.id, orderId: params.orderId }, call)
      return { status: 200, body: toOrder(order), replayed }
    },
  }),
]
