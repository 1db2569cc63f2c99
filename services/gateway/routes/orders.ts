import * as z from 'zod'
import { OrderStatus, type Order } from '#protos/shop/orders/v1/orders.ts'
import type { Clients } from '../clients.ts'
import { operation } from '../http/operation.ts'
import {
  characters,
  list,
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
          'out_of_stock, card_declined, insufficient_funds, cancelled_by_shopper …',
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

function toOrder(message: Order | undefined): z.infer<typeof order> {
  const { id, reason, lines, total, placedAt, updatedAt } = message!
  const status = statusNames[message!.status]
  if (!status) throw new Error(`orders returned the unknown status ${message!.status}`)
  return {
    id,
    status,
    reason: reason === '' ? null : reason,
    lines: lines.map(({ sku, quantity, title, unitPrice }) => ({
      sku,
      quantity,
      title,
      unitPrice: toMoney(unitPrice),
    })),
    total: toMoney(total),
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
      'Idempotency-Key': characters(1, 255)
        .regex(/^[\x20-\x7e]*$/, 'must be printable ASCII')
        .meta({
          description: 'Identifies this order among yours; a UUID, for example.',
          examples: ['9d1c4c2e-6f1e-4c86-8a0f-0a3d1f2b7a11'],
        }),
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
      'unknown_payment_method',
      'idempotency_key_reused',
      'commit_unknown',
    ],
    async handle({ user, headers, body, call }) {
      const { order } = await orders.placeOrder(
        {
          userId: user.id,
          idempotencyKey: headers['Idempotency-Key'],
          lines: body.lines,
          paymentMethod: body.payment.method,
        },
        call,
      )
      return { status: 202, body: toOrder(order), headers: { Location: `/v1/orders/${encodeURIComponent(order!.id)}` } }
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
    description: 'Idempotent. Reserved stock is released and a payment refunded.',
    params: orderId,
    body: z.strictObject({}).optional().meta({ description: 'Empty, or an empty object.' }),
    responses: { 200: { description: 'The order', schema: order } },
    problems: ['order_not_found', 'order_confirmed'],
    handle: async ({ user, params, call }) => ({
      status: 200,
      body: toOrder((await orders.cancelOrder({ userId: user.id, orderId: params.orderId }, call)).order),
    }),
  }),
]
