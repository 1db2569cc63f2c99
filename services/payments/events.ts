import * as z from 'zod'
import { on, type EventHandlers } from '#lib/consumer.ts'
import type { Logger } from '#lib/logger.ts'
import { moneySchema } from './payment.ts'
import type { Payments } from './payments.ts'

const order = z.object({ orderId: z.string().min(1), userId: z.string().min(1) })

/**
 * Creates the handlers of topic `orders`: they charge and refund. The payment shows which events
 * were handled, so there is no inbox. While the provider's decision is unknown they throw, so the
 * event is retried.
 */
export function createEventHandlers(deps: { payments: Payments; log: Logger }): EventHandlers {
  const { payments, log } = deps
  return {
    'orders.payment-requested.v1': on(
      order.extend({ total: moneySchema, paymentMethod: z.string().min(1) }),
      async (event) => {
        const { orderId, userId, total, paymentMethod } = event.data
        await payments.request({ orderId, userId }, { amount: total, paymentMethod })
        log.info({ orderId, eventId: event.id, eventType: event.type }, 'event')
        return 'success'
      },
    ),
    'orders.order-cancelled.v1': on(order, async (event) => {
      const { orderId, userId } = event.data
      await payments.cancel({ orderId, userId })
      log.info({ orderId, eventId: event.id, eventType: event.type }, 'event')
      return 'success'
    }),
  }
}
