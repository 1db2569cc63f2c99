import {
  PaymentsServiceService,
  PaymentStatus,
  type Payment as PaymentMessage,
} from '#protos/shop/payments/v1/payments.ts'
import { notFound, rejected } from '#lib/errors.ts'
import { implement } from '#lib/grpc-server.ts'
import type { Payment } from './payment.ts'
import type { PaymentStore } from './payment-store.ts'
import type { Payments } from './payments.ts'

/** The RPCs of shop.payments.v1. */
export const createPaymentsService = (o: { store: PaymentStore; payments: Payments }) =>
  implement(PaymentsServiceService, {
    async getPayment({ orderId }) {
      return { payment: toMessage(isOrderId(orderId) ? await o.store.get(orderId) : undefined) }
    },

    async refundPayment({ orderId }) {
      const payment = isOrderId(orderId) ? await o.payments.refund(orderId) : undefined
      if (payment && payment.status !== 'REFUNDED')
        throw rejected('payment_not_captured', 'only a captured payment can be refunded')
      return { payment: toMessage(payment) }
    },
  })

// It becomes part of a key.
const isOrderId = (text: string) => /^[\w.-]{1,100}$/.test(text)

const statusOf = {
  PENDING: PaymentStatus.PAYMENT_STATUS_PENDING,
  CAPTURED: PaymentStatus.PAYMENT_STATUS_CAPTURED,
  DECLINED: PaymentStatus.PAYMENT_STATUS_DECLINED,
  REFUNDED: PaymentStatus.PAYMENT_STATUS_REFUNDED,
  FORBIDDEN: PaymentStatus.PAYMENT_STATUS_FORBIDDEN,
} as const

function toMessage(payment: Payment | undefined): PaymentMessage {
  if (!payment) throw notFound('payment_not_found', 'nothing was asked of payments for this order')
  const { orderId, status, charge, reason, providerId } = payment
  return { orderId, status: statusOf[status], amount: charge?.amount, reason, providerId }
}
