import { unavailable } from '#lib/errors.ts'
import { onCancelled, onCharged, onRefunded, onRequested, type Charge, type Decision, type Payment } from './payment.ts'
import type { PaymentStore } from './payment-store.ts'
import type { ProviderClient } from './provider-client.ts'

export type Payments = ReturnType<typeof createPayments>

/**
 * Creates charging and refunding: stores what is about to be asked, calls the provider outside of
 * any transaction, stores its decision. Every step can be repeated from the start. Everything
 * throws `unavailable` while the store or the provider is unavailable.
 */
export function createPayments(deps: { store: PaymentStore; provider: ProviderClient }) {
  const { store, provider } = deps

  /** Stores what `decide` changes, if anything, and returns what to do after that. */
  async function advance(orderId: string, decide: (known: Payment | undefined) => Decision): Promise<Decision> {
    return decide(await store.change(orderId, decide))
  }

  async function refund(orderId: string, providerId: string) {
    await provider.refund(orderId, providerId)
    return store.change(orderId, onRefunded)
  }

  return {
    /** Charges an order, unless it is already charged or cancelled. */
    async request(order: { orderId: string; userId: string }, charge: Charge): Promise<void> {
      const decision = await advance(order.orderId, (known) => onRequested(known, order, charge))
      if (decision.outcome !== 'charge') return
      const { amount, paymentMethod } = decision.charge
      const result = await provider.charge(order.orderId, amount, paymentMethod)
      await store.change(order.orderId, (known) => onCharged(known, result))
    },

    /**
     * Refunds a cancelled order, or forbids its charge. Throws `unavailable` payment_pending while
     * the charge is still in progress.
     */
    async cancel(order: { orderId: string; userId: string }): Promise<void> {
      const decision = await advance(order.orderId, (known) => onCancelled(known, order))
      if (decision.outcome === 'wait') throw unavailable('payment_pending', 'the charge of this order is in progress')
      if (decision.outcome === 'refund') await refund(order.orderId, decision.providerId)
    },

    /** Refunds a captured payment. Returns the payment after that; undefined if there is none. */
    async refund(orderId: string): Promise<Payment | undefined> {
      const payment = await store.get(orderId)
      return payment?.status === 'CAPTURED' ? refund(orderId, payment.providerId) : payment
    },
  }
}
