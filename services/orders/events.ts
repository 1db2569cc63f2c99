import * as z from 'zod'
import { on, type Event, type EventHandlers, type Verdict } from '#lib/consumer.ts'
import type { Logger } from '#lib/logger.ts'
import type { Trigger } from './order.ts'
import type { OrderStore } from './order-store.ts'

const order = z.object({ orderId: z.string().min(1), userId: z.string().min(1) })
const orderWithReason = order.extend({ reason: z.string().min(1) })

/**
 * Creates the handlers of topics `stock` and `payments`: they move orders. The order's status shows
 * which events were handled, so there is no inbox. An event that contradicts the order is dropped.
 */
export function createEventHandlers(deps: { store: OrderStore; log: Logger }): EventHandlers {
  const { store, log } = deps

  async function move(event: Event<z.infer<typeof order>>, trigger: Trigger): Promise<Verdict> {
    const { orderId, userId } = event.data
    const line = { orderId, eventId: event.id, eventType: event.type }
    const decision = await store.move(userId, orderId, trigger)
    if (!decision) {
      // An order is committed before its first event is published, so a retry would not help.
      log.error(line, 'event dropped: unknown order')
      return 'drop'
    }
    if (decision.outcome === 'rejected') {
      log.error({ ...line, reason: decision.reason }, 'event dropped: contradicts the order')
      return 'drop'
    }
    log.info({ ...line, status: decision.order.status, changed: decision.outcome === 'changed' }, 'event')
    return 'success'
  }

  return {
    'stock.stock-reserved.v1': on(order, (event) => move(event, { type: 'stock-reserved' })),
    'stock.stock-rejected.v1': on(orderWithReason, (event) =>
      move(event, { type: 'stock-rejected', reason: event.data.reason }),
    ),
    'payments.payment-captured.v1': on(order, (event) => move(event, { type: 'payment-captured' })),
    'payments.payment-declined.v1': on(orderWithReason, (event) =>
      move(event, { type: 'payment-declined', reason: event.data.reason }),
    ),
  }
}
