import { setTimeout as delay } from 'node:timers/promises'
import {
  PaymentStatus,
  RefundStatus,
  type Payment as PaymentMessage,
  type PaymentsServiceService,
  type Refund as RefundMessage,
} from '#protos/shop/payments/v1/payments.ts'
import { invalid, notFound, rejected } from '#lib/errors.ts'
import type { Handlers } from '#lib/grpc-server.ts'
import { refundedOf, type Payment, type RefundRejection } from './payment.ts'
import type { PaymentStore } from './payment-store.ts'
import type { Workers } from './workers.ts'

/** How long a refund is waited for. Later it is still made, and the answer says it is pending. */
const refundWaitMs = 1_000

/** The RPCs of protos/shop/payments/v1/payments.proto, which lists their errors. */
export function createPaymentsHandlers(deps: {
  store: PaymentStore
  workers: Pick<Workers, 'start'>
}): Handlers<typeof PaymentsServiceService> {
  const { store, workers } = deps

  const find = (orderId: string) => (isId(orderId) ? store.get(orderId) : undefined)

  return {
    async getPayment({ orderId }) {
      const payment = await find(orderId)
      if (!payment) throw notFound('payment_not_found', messages.payment_not_found)
      return { payment: toMessage(payment) }
    },

    async refundPayment({ orderId, refundId, amount, reason }) {
      if (!isId(refundId)) throw invalid('refund_id', 'must be 1 to 100 letters, digits, dots, dashes or underscores')
      if (reason.length > 500) throw invalid('reason', 'must be at most 500 characters')
      if (!isId(orderId)) throw notFound('payment_not_found', messages.payment_not_found)
      const request = { refundId, reason, ...(amount && { amount: amount.amount }) }
      if (amount) await requireCurrency(orderId, amount.currency)
      const decided = await store.requestRefund(orderId, request)
      if (decided.outcome === 'rejected') throw refusal(decided.reason)
      if (decided.leased)
        await Promise.race([workers.start(decided.leased), delay(refundWaitMs, undefined, { ref: false })])
      const payment = decided.leased ? ((await store.get(orderId)) ?? decided.payment) : decided.payment
      const refund = payment.refunds.find((each) => each.refundId === refundId)
      return { payment: toMessage(payment), refund: refund && toRefund(refund, payment), replayed: !decided.isChanged }
    },
  }

  async function requireCurrency(orderId: string, currency: string): Promise<void> {
    const charge = (await store.get(orderId))?.charge
    if (charge && charge.amount.currency !== currency)
      throw invalid('amount.currency', `must be ${charge.amount.currency}, as the payment`)
  }
}

// It becomes part of a key.
const isId = (text: string) => /^[\w.-]{1,100}$/.test(text)

const messages: Record<RefundRejection, string> = {
  payment_not_found: 'no payment was requested for this order',
  payment_not_captured: 'only a captured payment can be refunded',
  already_refunded: 'all of this payment is refunded already',
  refund_too_large: 'more than what is left of this payment',
  idempotency_key_reused: 'this id was used for another refund',
}
const refusal = (reason: RefundRejection) =>
  reason === 'payment_not_found'
    ? notFound(reason, messages[reason])
    : rejected(
        reason,
        messages[reason],
        reason === 'refund_too_large' ? [{ field: 'amount', message: messages[reason] }] : [],
      )

const statusOf = {
  PENDING: PaymentStatus.PAYMENT_STATUS_PENDING,
  CAPTURED: PaymentStatus.PAYMENT_STATUS_CAPTURED,
  DECLINED: PaymentStatus.PAYMENT_STATUS_DECLINED,
  REFUNDED: PaymentStatus.PAYMENT_STATUS_REFUNDED,
  FORBIDDEN: PaymentStatus.PAYMENT_STATUS_FORBIDDEN,
} as const
const refundStatusOf = {
  PENDING: RefundStatus.REFUND_STATUS_PENDING,
  DONE: RefundStatus.REFUND_STATUS_DONE,
} as const

const currencyOf = ({ charge }: Payment) => charge?.amount.currency ?? ''

const toRefund = (refund: Payment['refunds'][number], payment: Payment): RefundMessage => ({
  refundId: refund.refundId,
  status: refundStatusOf[refund.status],
  amount: { amount: refund.amount, currency: currencyOf(payment) },
  reason: refund.reason,
  providerId: refund.providerId,
})

const toMessage = (payment: Payment): PaymentMessage => ({
  orderId: payment.orderId,
  status: statusOf[payment.status],
  amount: payment.charge?.amount,
  reason: payment.reason,
  providerId: payment.providerId,
  refunded: payment.charge && { amount: refundedOf(payment), currency: currencyOf(payment) },
  // One that undoes a second charge is between us and the provider.
  refunds: payment.refunds.filter((each) => each.strayCharge === undefined).map((each) => toRefund(each, payment)),
})
