import * as z from 'zod'

// What a payment is and how it moves. No I/O.

export const moneySchema = z.object({ amount: z.int().min(0), currency: z.string().min(1) })
export type Money = z.infer<typeof moneySchema>

export const statuses = ['PENDING', 'CAPTURED', 'DECLINED', 'REFUNDED', 'FORBIDDEN'] as const

/** An order's payment, as stored. */
export const paymentSchema = z.object({
  orderId: z.string(),
  userId: z.string(),
  status: z.enum(statuses),
  /** Missing if the order was cancelled before its payment was requested. */
  charge: z.object({ amount: moneySchema, paymentMethod: z.string() }).optional(),
  /** Why it was declined; else empty. */
  reason: z.string(),
  /** The provider's id of the charge; else empty. */
  providerId: z.string(),
})
export type Payment = z.infer<typeof paymentSchema>

export type Charge = NonNullable<Payment['charge']>

/** What the provider decided about a charge. */
export type ChargeResult = { outcome: 'captured'; providerId: string } | { outcome: 'declined'; reason: string }

export type PaymentEvent =
  | {
      type: 'payments.payment-captured.v1'
      data: { orderId: string; userId: string; amount: Money; providerId: string }
    }
  | { type: 'payments.payment-declined.v1'; data: { orderId: string; userId: string; reason: string } }
  | { type: 'payments.payment-refunded.v1'; data: { orderId: string; userId: string; amount: Money } }

/**
 * What to do next. `changed`: store the payment and publish the event. `unchanged`: nothing.
 * `charge`, `refund`: call the provider, outside of any transaction, and store what it decides.
 * `wait`: the charge is in progress elsewhere, so retry later.
 */
export type Decision =
  | { outcome: 'changed'; payment: Payment; event?: PaymentEvent }
  | { outcome: 'unchanged' }
  | { outcome: 'charge'; charge: Charge }
  | { outcome: 'refund'; providerId: string }
  | { outcome: 'wait' }

const unchanged: Decision = { outcome: 'unchanged' }

/**
 * Decides about a request for payment. It is stored as PENDING first, so that no charge goes
 * unrecorded, and what is charged is what was stored then. An order cancelled before is never
 * charged.
 */
export function onRequested(
  known: Payment | undefined,
  order: { orderId: string; userId: string },
  charge: Charge,
): Decision {
  if (!known)
    return { outcome: 'changed', payment: { ...order, status: 'PENDING', charge, reason: '', providerId: '' } }
  return known.status === 'PENDING' && known.charge ? { outcome: 'charge', charge: known.charge } : unchanged
}

/** Decides about the provider's result of a charge. Unchanged if it is already stored. */
export function onCharged(known: Payment | undefined, result: ChargeResult): Decision {
  if (known?.status !== 'PENDING' || !known.charge) return unchanged
  const { orderId, userId, charge } = known
  switch (result.outcome) {
    case 'captured':
      return {
        outcome: 'changed',
        payment: { ...known, status: 'CAPTURED', providerId: result.providerId },
        event: {
          type: 'payments.payment-captured.v1',
          data: { orderId, userId, amount: charge.amount, providerId: result.providerId },
        },
      }
    case 'declined':
      return {
        outcome: 'changed',
        payment: { ...known, status: 'DECLINED', reason: result.reason },
        event: { type: 'payments.payment-declined.v1', data: { orderId, userId, reason: result.reason } },
      }
  }
}

/**
 * Decides about the cancellation of an order: a captured payment is refunded, and one that was not
 * requested yet is forbidden.
 */
export function onCancelled(known: Payment | undefined, order: { orderId: string; userId: string }): Decision {
  if (!known) return { outcome: 'changed', payment: { ...order, status: 'FORBIDDEN', reason: '', providerId: '' } }
  switch (known.status) {
    case 'CAPTURED':
      return { outcome: 'refund', providerId: known.providerId }
    case 'PENDING':
      // Events of one order are handled one at a time, so only a consumer that lost its partition
      // in a rebalance can still be charging. It finishes soon.
      return { outcome: 'wait' }
    case 'DECLINED':
    case 'REFUNDED':
    case 'FORBIDDEN':
      return unchanged
  }
}

/** Decides about a refund that the provider made. Unchanged if it is already stored. */
export function onRefunded(known: Payment | undefined): Decision {
  if (known?.status !== 'CAPTURED' || !known.charge) return unchanged
  const { orderId, userId, charge } = known
  return {
    outcome: 'changed',
    payment: { ...known, status: 'REFUNDED' },
    event: { type: 'payments.payment-refunded.v1', data: { orderId, userId, amount: charge.amount } },
  }
}
