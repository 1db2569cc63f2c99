import * as z from 'zod'
import { on, type EventHandlers, type Verdict } from '#lib/consumer.ts'
import { traceparent } from '#lib/telemetry.ts'
import { moneySchema, onRequested, onWithdrawn } from './payment.ts'
import { paymentKey, type Outcome, type PaymentStore } from './payment-store.ts'
import type { Workers } from './workers.ts'

const order = z.object({ orderId: z.string().min(1), userId: z.string().min(1) })
const request = order.extend({ total: moneySchema, paymentMethod: z.string().min(1) })

/**
 * Creates the handlers of topic `payment-requests`. They only record what is to be done: workers
 * call the provider afterwards. The payment shows which events were handled, so there is no inbox.
 */
export function createEventHandlers(deps: {
  store: PaymentStore
  workers: Pick<Workers, 'start' | 'hasRoom'>
}): EventHandlers {
  const { store, workers } = deps
  return {
    'orders.payment-requested.v1': on(request, {
      keys: () => [],
      presumedAbsent: ({ data }) => [paymentKey(data.orderId)],
      decide({ data }, draft) {
        const { orderId, userId, total, paymentMethod } = data
        const charge = { amount: total, paymentMethod }
        const known = { orderId, userId, traceparent: traceparent() ?? '' }
        return verdictOf(
          store.change(draft, orderId, (payment, now) => onRequested(payment, known, charge, now), {
            takes: workers.hasRoom(),
          }),
        )
      },
    }),
    'orders.payment-withdrawn.v1': on(order, {
      keys: ({ data }) => [paymentKey(data.orderId)],
      decide: ({ data }, draft) =>
        verdictOf(
          store.change(draft, data.orderId, (payment, now) => onWithdrawn(payment, data, now), {
            takes: workers.hasRoom(),
          }),
        ),
    }),
  }

  function verdictOf({ payment, isChanged, leased }: Outcome): Verdict {
    return {
      outcome: 'done',
      ...(isChanged && payment && { line: { orderId: payment.orderId, payment: payment.status } }),
      ...(leased && { afterCommit: () => void workers.start(leased) }),
    }
  }
}
