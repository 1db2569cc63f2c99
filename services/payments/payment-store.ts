import type { StateStore } from '#lib/dapr.ts'
import { retryOnConflict } from '#lib/retry-on-conflict.ts'
import { paymentSchema, type Decision, type Payment } from './payment.ts'

const paymentKey = (orderId: string) => `payment:{${orderId}}`

export type PaymentStore = ReturnType<typeof createPaymentStore>

/**
 * Creates the store of payments. Everything throws `unavailable`, and changes nothing, while the
 * store is unavailable.
 */
export function createPaymentStore({ state }: { state: StateStore }) {
  const read = (orderId: string) => state.get(paymentKey(orderId), paymentSchema)

  return {
    /** Returns an order's payment, or undefined. */
    async get(orderId: string): Promise<Payment | undefined> {
      return (await read(orderId))?.value
    },

    /**
     * Stores what `decide` changes in the current payment, with its event, in one transaction, and
     * starts over when another writer got in between. Stores nothing if nothing changes. Returns
     * the payment after that.
     */
    async change(orderId: string, decide: (known: Payment | undefined) => Decision): Promise<Payment | undefined> {
      return retryOnConflict(async () => {
        const before = await read(orderId)
        const decision = decide(before?.value)
        if (decision.outcome !== 'changed') return before?.value
        const { payment, event } = decision
        await state.transact([
          { upsert: paymentKey(orderId), value: payment, ...(before ? { etag: before.etag } : { firstWrite: true }) },
          ...(event ? [{ event: { ...event, key: orderId } }] : []),
        ])
        return payment
      })
    },
  }
}
