import * as z from 'zod'
import { on, type Event, type EventHandlers, type Verdict } from '#lib/consumer.ts'
import type { Logger } from '#lib/logger.ts'
import { lineSchema, release, reserve, sell, type Decision } from './stock.ts'
import type { StockStore } from './stock-store.ts'

const order = z.object({ orderId: z.string().min(1), userId: z.string().min(1) })

/**
 * Creates the handlers of topic `orders`: they reserve, release and sell stock. The reservation
 * shows which events were handled, so there is no inbox. An event that contradicts the reservation
 * is dropped.
 */
export function createEventHandlers(deps: { store: StockStore; log: Logger }): EventHandlers {
  const { store, log } = deps

  const verdict = (event: Event<z.infer<typeof order>>, decision: Decision): Verdict => {
    const line = { orderId: event.data.orderId, eventId: event.id, eventType: event.type, outcome: decision.outcome }
    if (decision.outcome !== 'rejected') {
      log.info(line, 'event')
      return 'success'
    }
    log.error({ ...line, reason: decision.reason }, 'event dropped: contradicts the reservation')
    return 'drop'
  }

  return {
    'orders.order-placed.v1': on(order.extend({ lines: z.array(lineSchema).min(1) }), async (event) => {
      const { orderId, lines } = event.data
      const skus = lines.map((line) => line.sku)
      return verdict(event, await store.decideOrder(orderId, skus, (known, stock) => reserve(known, event.data, stock)))
    }),
    'orders.order-cancelled.v1': on(order, async (event) => {
      const { orderId, userId } = event.data
      return verdict(
        event,
        await store.decideOrder(orderId, [], (known, stock) => release(known, { orderId, userId }, stock)),
      )
    }),
    'orders.order-confirmed.v1': on(order, async (event) =>
      verdict(event, await store.decideOrder(event.data.orderId, [], sell)),
    ),
  }
}
