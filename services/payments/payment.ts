import * as z from 'zod'

// What a payment is and how it moves, without I/O.

export const moneySchema = z.object({ amount: z.int().min(0), currency: z.string().min(1) })
export type Money = z.infer<typeof moneySchema>

export const statuses = ['PENDING', 'CAPTURED', 'DECLINED', 'REFUNDED', 'FORBIDDEN'] as const

/** An order's payment, as stored. */
export const paymentSchema = z.object({
  orderId: z.string(),
  userId: z.string(),
  status: z.enum(statuses),
  /** Missing where the order was cancelled before anything was asked. */
  charge: z.object({ amount: moneySchema, paymentMethod: z.string() }).optional(),
  /** Why it was declined, else empty. */
  reason: z.string(),
  /** The provider's id of the charge, else empty. */
  providerId: z.string(),
})
export type Payment = z.infer<typeof paymentSchema>

export type Charge = NonNullable<Payment['charge']>

/** What the provider made of a charge. */
export type ChargeAnswer = { outcome: 'captured'; providerId: string } | { outcome: 'declined'; reason: string }

export type PaymentEvent =
  | {
      type: 'payments.payment-captured.v1'
      data: { orderId: string; userId: string; amount: Money; providerId: string }
    }
  | { type: 'payments.payment-declined.v1'; data: { orderId: string; userId: string; reason: string } }
  | { type: 'payments.payment-refunded.v1'; data: { orderId: string; userId: string; amount: Money } }

export type Changed = { payment: Payment; event?: PaymentEvent }

/**
 * What is to be done next. `charge` and `refund`: ask the provider, outside of any transaction,
 * then store its answer. `store`: as it says. `wait`: the charge is under way elsewhere, look again
 * later. `done`: nothing.
 */
export type Next =
  | { do: 'charge'; charge: Charge }
  | { do: 'refund'; providerId: string }
  | { do: 'store'; changed: Changed }
  | { do: 'wait' }
  | { do: 'done' }

const done: Next = { do: 'done' }

/**
 * orders asks for a payment. It is stored as PENDING first, so that a charge is never made that
 * nobody knows of; what is charged is what was stored then. An order that was cancelled first is
 * never charged.
 */
export function onRequested(
  known: Payment | undefined,
  order: { orderId: string; userId: string },
  charge: Charge,
): Next {
  if (!known)
    return { do: 'store', changed: { payment: { ...order, status: 'PENDING', charge, reason: '', providerId: '' } } }
  return known.status === 'PENDING' && known.charge ? { do: 'charge', charge: known.charge } : done
}

/** The provider answered. Undefined: somebody else stored the answer before. */
export function onAnswered(known: Payment, answer: ChargeAnswer): Changed | undefined {
  if (known.status !== 'PENDING' || !known.charge) return undefined
  const { orderId, userId, charge } = known
  switch (answer.outcome) {
    case 'captured':
      return {
        payment: { ...known, status: 'CAPTURED', providerId: answer.providerId },
        event: {
          type: 'payments.payment-captured.v1',
          data: { orderId, userId, amount: charge.amount, providerId: answer.providerId },
        },
      }
    case 'declined':
      return {
        payment: { ...known, status: 'DECLINED', reason: answer.reason },
        event: { type: 'payments.payment-declined.v1', data: { orderId, userId, reason: answer.reason } },
      }
  }
}

/**
 * The order was cancelled: what was captured goes back, and what was not asked for yet is
 * forbidden.
 */
export function onCancelled(known: Payment | undefined, order: { orderId: string; userId: string }): Next {
  if (!known)
    return { do: 'store', changed: { payment: { ...order, status: 'FORBIDDEN', reason: '', providerId: '' } } }
  switch (known.status) {
    case 'CAPTURED':
      return { do: 'refund', providerId: known.providerId }
    case 'PENDING':
      // Events of one order come one after another, so only a consumer that a rebalance left behind
      // can still be charging: its answer is near.
      return { do: 'wait' }
    case 'DECLINED':
    case 'REFUNDED':
    case 'FORBIDDEN':
      return done
  }
}

/** The provider has refunded. Undefined: it was stored before. */
export function onRefunded(known: Payment): Changed | undefined {
  if (known.status !== 'CAPTURED' || !known.charge) return undefined
  const { orderId, userId, charge } = known
  return {
    payment: { ...known, status: 'REFUNDED' },
    event: { type: 'payments.payment-refunded.v1', data: { orderId, userId, amount: charge.amount } },
  }
}
