import * as z from 'zod'
import { consume, on } from '#lib/consumer.ts'
import type { Logger } from '#lib/logger.ts'
import { moneySchema } from './payment.ts'
import type { Payments } from './payments.ts'

const order = z.object({ orderId: z.string().min(1), userId: z.string().min(1) })

/**
 * What payments does when orders says something. A repeat is known by the payment, so that no inbox
 * is needed.
 */
export function createEventHandlers(o: { payments: Payments; log: Logger }) {
  const { payments, log } = o
  return consume(log, {
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
  })
}
