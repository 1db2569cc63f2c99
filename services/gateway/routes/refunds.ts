import * as z from 'zod'
import { hashName } from '#lib/hash-name.ts'
import { RefundStatus } from '#protos/shop/payments/v1/payments.ts'
import type { Clients } from '../clients.ts'
import { idempotencyKey } from '../http/idempotency.ts'
import { operation } from '../http/operation.ts'
import { moneyOut, text, toMoney, wholeNumber } from '../http/schemas.ts'

const refund = z
  .object({
    id: z.string().meta({ examples: ['4fz0q3k9s2m7x8w1v6t5r0p3n2'] }),
    orderId: z.string().meta({ examples: ['o-3f1c9a'] }),
    status: z.enum(['PENDING', 'DONE']).meta({
      description: 'PENDING: it is recorded, and made as soon as the payment provider responds.',
      examples: ['DONE'],
    }),
    amount: moneyOut,
    reason: z.string().meta({ examples: ['damaged'] }),
    refunded: moneyOut.meta({ description: 'The sum of all refunds of this order that are done.' }),
  })
  .meta({ id: 'Refund' })

export const refunds = ({ payments }: Clients) => [
  operation({
    id: 'refundOrder',
    method: 'post',
    path: '/v1/orders/{orderId}/refunds',
    tag: 'Orders',
    access: 'admin',
    summary: 'Refund an order, in full or in part',
    description:
      'An Idempotency-Key always names the same refund of this order, so a request whose response ' +
      'was lost can be retried. All refunds together never exceed what was charged.',
    params: z.object({ orderId: text(1, 200).meta({ examples: ['o-3f1c9a'] }) }),
    headers: z.object({
      'Idempotency-Key': idempotencyKey('Identifies this refund among those of the order.'),
    }),
    body: z
      .strictObject({
        amount: z
          .strictObject({
            amount: wholeNumber(1, Number.MAX_SAFE_INTEGER).meta({ examples: [500] }),
            currency: text(3, 3).meta({ examples: ['USD'] }),
          })
          .optional()
          .meta({ description: 'Absent: all that is left.' }),
        reason: text(1, 500)
          .optional()
          .meta({ description: 'For the records.', examples: ['damaged'] }),
      })
      .meta({ id: 'RefundRequest' }),
    responses: { 201: { description: 'Recorded, and made unless its status is PENDING', schema: refund } },
    problems: ['payment_not_found', 'payment_not_captured', 'already_refunded', 'refund_too_large', 'commit_unknown'],
    async handle({ params, headers, body, call }) {
      const { orderId } = params
      const refundId = hashName(headers['Idempotency-Key'], 26)
      const answer = await payments.refundPayment(
        { orderId, refundId, amount: body.amount, reason: body.reason ?? '' },
        call,
      )
      const { status, amount, reason } = answer.refund!
      return {
        status: 201,
        replayed: answer.replayed,
        body: {
          id: refundId,
          orderId,
          status: status === RefundStatus.REFUND_STATUS_DONE ? 'DONE' : 'PENDING',
          amount: toMoney(amount),
          reason,
          refunded: toMoney(answer.payment?.refunded),
        },
      }
    },
  }),
]
