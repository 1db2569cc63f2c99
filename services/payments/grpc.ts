import {
  PaymentStatus,
  type Payment as PaymentMessage,
  type PaymentsServiceService,
} from '#protos/shop/payments/v1/payments.ts'
import { notFound, rejected } from '#lib/errors.ts'
import type { Handlers } from '#lib/grpc-server.ts'
import type { Payment } from './payment.ts'
import type { PaymentStore } from './payment-store.ts'
import type { Payments } from './payments.ts'

/** The RPCs of protos/shop/payments/v1/payments.proto, which lists their errors. */
export function createPaymentsHandlers(deps: {
  store: PaymentStore
  payments: Payments
}): Handlers<typeof PaymentsServiceService> {
  const { store, payments } = deps
  return {
    async getPayment({ orderId }) {
      const payment = isOrderId(orderId) ? await store.get(orderId) : undefined
      if (!payment) throw paymentNotFound()
      return { payment: toMessage(payment) }
    },

    async refundPayment({ orderId }) {
      const payment = isOrderId(orderId) ? await payments.refund(orderId) : undefined
      if (!payment) throw paymentNotFound()
      if (payment.status !== 'REFUNDED')
        throw rejected('payment_not_captured', 'only a captured payment can be refunded')
      return { payment: toMessage(payment) }
    },
  }
}

// It becomes part of a key.
const isOrderId = (text: string) => /^[\w.-]{1,100}$/.test(text)
const paymentNotFound = () => notFound('payment_not_found', 'no payment was requested for this order')

const statusOf = {
  PENDING: PaymentStatus.PAYMENT_STATUS_PENDING,
  CAPTURED: PaymentStatus.PAYMENT_STATUS_CAPTURED,
  DECLINED: PaymentStatus.PAYMENT_STATUS_DECLINED,
  REFUNDED: PaymentStatus.PAYMENT_STATUS_REFUNDED,
  FORBIDDEN: PaymentStatus.PAYMENT_STATUS_FORBIDDEN,
} as const

const toMessage = ({ orderId, status, charge, reason, providerId }: Payment): PaymentMessage => ({
  orderId,
  status: statusOf[status],
  amount: charge?.amount,
  reason,
  providerId,
})
