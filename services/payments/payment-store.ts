import * as z from 'zod'
import type { StateStore, Versioned } from '#lib/dapr.ts'
import { retryOnConflict } from '#lib/retry-on-conflict.ts'
import { paymentSchema, type Changed, type Payment } from './payment.ts'

const paymentKey = (orderId: string) => `payment:{${orderId}}`

export type PaymentStore = ReturnType<typeof createPaymentStore>

/**
 * Reads and writes payments. Everything here throws AppError `unavailable` while the store is away,
 * and changes nothing then.
 */
export function createPaymentStore(state: StateStore) {
  const read = (orderId: string) => state.get(paymentKey(orderId), paymentSchema)

  async function write({ payment, event }: Changed, before: Versioned<Payment> | undefined) {
    await state.transact([
      {
        upsert: paymentKey(payment.orderId),
        value: payment,
        ...(before ? { etag: before.etag } : { firstWrite: true }),
      },
      ...(event ? [{ event: { ...event, key: payment.orderId } }] : []),
    ])
  }

  return {
    async get(orderId: string): Promise<Payment | undefined> {
      return (await read(orderId))?.value
    },

    /**
     * Stores what `decide` makes of the payment as it is now, with its event, in one transaction;
     * again when somebody else wrote in between. Where it makes nothing of it, nothing is stored.
     * Answers the payment as it is after that.
     */
    async change(
      orderId: string,
      decide: (known: Payment | undefined) => Changed | undefined,
    ): Promise<Payment | undefined> {
      return retryOnConflict(async () => {
        const before = await read(orderId)
        const changed = decide(before?.value)
        if (!changed) return before?.value
        await write(changed, before)
        return changed.payment
      })
    },

    /** Whether the store answers; throws `unavailable` if not. */
    async ping(): Promise<void> {
      await state.get('ready:{payments}', z.unknown())
    },
  }
}
