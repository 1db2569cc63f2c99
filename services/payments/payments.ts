import { unavailable } from '#lib/errors.ts'
import { onAnswered, onCancelled, onRefunded, onRequested, type Charge, type Next, type Payment } from './payment.ts'
import type { PaymentStore } from './payment-store.ts'
import type { ProviderClient } from './provider-client.ts'

export type Payments = ReturnType<typeof createPayments>

/**
 * Charges and refunds: stores what is about to be asked, asks the provider outside of any
 * transaction, stores what it answered. Every step can be repeated from the start. Throws AppError
 * `unavailable` where the store or the provider is away.
 */
export function createPayments(o: { store: PaymentStore; provider: ProviderClient }) {
  const { store, provider } = o

  /** Stores what `decide` says if it says so, and answers what is to be done then. */
  async function advance(orderId: string, decide: (known: Payment | undefined) => Next): Promise<Next> {
    const payment = await store.change(orderId, (known) => {
      const next = decide(known)
      return next.do === 'store' ? next.changed : undefined
    })
    return decide(payment)
  }

  async function refund(orderId: string, providerId: string) {
    await provider.refund(orderId, providerId)
    return store.change(orderId, (known) => known && onRefunded(known))
  }

  return {
    /** Charges an order unless that was done, or it was cancelled before. */
    async request(order: { orderId: string; userId: string }, charge: Charge): Promise<void> {
      const next = await advance(order.orderId, (known) => onRequested(known, order, charge))
      if (next.do !== 'charge') return
      const answer = await provider.charge(order.orderId, next.charge.amount, next.charge.paymentMethod)
      await store.change(order.orderId, (known) => known && onAnswered(known, answer))
    },

    /** Refunds a cancelled order, or forbids its charge. */
    async cancel(order: { orderId: string; userId: string }): Promise<void> {
      const next = await advance(order.orderId, (known) => onCancelled(known, order))
      if (next.do === 'wait') throw unavailable('payment_pending', 'the charge of this order is not answered yet')
      if (next.do === 'refund') await refund(order.orderId, next.providerId)
    },

    /**
     * Refunds a captured payment. Answers the payment as it is then; undefined if there is none.
     */
    async refund(orderId: string): Promise<Payment | undefined> {
      const payment = await store.get(orderId)
      return payment?.status === 'CAPTURED' ? refund(orderId, payment.providerId) : payment
    },
  }
}
