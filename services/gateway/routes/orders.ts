import * as z from 'zod'
import { OrderStatus, type Order } from '#protos/shop/orders/v1/orders.ts'
import type { Clients } from '../clients.ts'
import { operation } from '../operation.ts'
import { moneyOut, pageOf, paging, sku, text, time, toMoney, toPage } from '../schemas.ts'

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
          'Why it was cancelled: out_of_stock, card_declined, insufficient_funds, cancelled_by_shopper …; else null.',
        examples: [null],
      }),
    lines: z.array(
      z.object({
        sku: z.string().meta({ examples: ['clay-plant-pot-large'] }),
        quantity: z.int().meta({ examples: [2] }),
        title: z.string().meta({ description: 'As when the order was placed.', examples: ['Clay Plant Pot'] }),
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

function toOrder(o: Order | undefined): z.infer<typeof order> {
  const { id, reason, lines, total, placedAt, updatedAt } = o!
  const status = statusNames[o!.status]
  if (!status) throw new Error(`orders answered with the status ${o!.status}`)
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
    lines: z
      .array(
        z.strictObject({
          sku,
          quantity: z
            .int()
            .min(1)
            .max(1_000)
            .meta({ examples: [2] }),
        }),
      )
      .min(1)
      .max(100)
      .superRefine((lines, context) => {
        const seen = new Set<string>()
        for (const [i, { sku }] of lines.entries()) {
          if (seen.has(sku))
            context.addIssue({ code: 'custom', path: [i, 'sku'], message: 'stands in another line too' })
          seen.add(sku)
        }
      }),
    payment: z.strictObject({
      method: z
        .string()
        .max(100)
        .regex(/^[A-Za-z][\w-]*$/, "must be a token of the payment provider's, never a card number")
        .meta({
          description:
            "The payment provider's token. The sandbox takes Stripe's test names: pm_card_visa, pm_card_chargeDeclined, pm_card_chargeDeclinedInsufficientFunds.",
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
      'The answer is the order as it is now; stock is reserved and the payment charged after it: ask for the order until it is CONFIRMED or CANCELLED. The same Idempotency-Key always names the same order, so repeating a request whose answer was lost is safe.',
    headers: z.object({
      'Idempotency-Key': z
        .string()
        .min(1)
        .max(255)
        .regex(/^[\x20-\x7e]*$/, 'must be printable ASCII')
        .meta({
          description: 'Names this order among yours; a UUID, say.',
          examples: ['9d1c4c2e-6f1e-4c86-8a0f-0a3d1f2b7a11'],
        }),
    }),
    body: placement,
    responses: {
      202: {
        description: 'The order was placed',
        schema: order,
        headers: {
          Location: 'Where the order is',
          traceparent: 'The trace in which everything about this order happens (W3C)',
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
    responses: { 200: { description: 'A page', schema: pageOf(order) } },
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
    summary: 'Cancel an order that is under way',
    description: 'Harmless when repeated. What was reserved or paid goes back.',
    params: orderId,
    body: z.strictObject({}).optional().meta({ description: 'Nothing, or an empty object.' }),
    responses: { 200: { description: 'The order as it is now', schema: order } },
    problems: ['order_not_found', 'order_confirmed'],
    handle: async ({ user, params, call }) => ({
      status: 200,
      body: toOrder((await orders.cancelOrder({ userId: user.id, orderId: params.orderId }, call)).order),
    }),
  }),
]
