import * as z from 'zod'
import { consume, on, type Event, type Verdict } from '#lib/consumer.ts'
import type { Logger } from '#lib/logger.ts'
import { lineSchema, release, reserve, sell, type Decision } from './stock.ts'
import type { StockStore } from './stock-store.ts'

const order = z.object({ orderId: z.string().min(1), userId: z.string().min(1) })

/**
 * What inventory does when orders says something. A repeat is known by the reservation, so that no
 * inbox is needed.
 */
export function createEventHandlers(o: { store: StockStore; log: Logger }) {
  const { store, log } = o

  const verdict = (event: Event<z.infer<typeof order>>, outcome: Decision['outcome']): Verdict => {
    const line = { orderId: event.data.orderId, eventId: event.id, eventType: event.type, outcome }
    if (outcome !== 'impossible') {
      log.info(line, 'event')
      return 'success'
    }
    log.error(line, 'event contradicts the reservation: dropped')
    return 'drop'
  }

  return consume(log, {
    'orders.order-placed.v1': on(order.extend({ lines: z.array(lineSchema).min(1) }), async (event) => {
      const { orderId, lines } = event.data
      return verdict(
        event,
        await store.decideOrder(
          orderId,
          lines.map((l) => l.sku),
          (known, stock) => reserve(known, event.data, stock),
        ),
      )
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
  })
}
