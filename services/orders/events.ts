import * as z from 'zod'
import { consume, on, type Event, type Verdict } from '#lib/consumer.ts'
import type { Logger } from '#lib/logger.ts'
import type { Trigger } from './order.ts'
import type { OrderStore } from './order-store.ts'

const about = z.object({ orderId: z.string().min(1), userId: z.string().min(1) })
const withReason = about.extend({ reason: z.string().min(1) })

/**
 * How answers of inventory and payments move an order. A repeat finds the order moved already, so
 * that no inbox is needed.
 */
export function createEventHandlers(o: { store: OrderStore; log: Logger; now: () => string }) {
  const { store, log, now } = o

  async function move(event: Event<z.infer<typeof about>>, trigger: Trigger): Promise<Verdict> {
    const { orderId, userId } = event.data
    const line = { orderId, eventId: event.id, eventType: event.type }
    const decided = await store.move(userId, orderId, trigger, now)
    if (!decided) {
      // An order commits before its first event can be heard, so waiting for it would not help.
      log.error(line, 'event about an order that is not there: dropped')
      return 'drop'
    }
    if ('rejection' in decided) {
      log.error({ ...line, rejection: decided.rejection }, 'event contradicts the order: dropped')
      return 'drop'
    }
    log.info({ ...line, status: decided.order.status, changed: decided.events.length > 0 }, 'event')
    return 'success'
  }

  return consume(log, {
    'stock.stock-reserved.v1': on(about, (event) => move(event, { type: 'stock-reserved' })),
    'stock.stock-rejected.v1': on(withReason, (event) =>
      move(event, { type: 'stock-rejected', reason: event.data.reason }),
    ),
    'payments.payment-captured.v1': on(about, (event) => move(event, { type: 'payment-captured' })),
    'payments.payment-declined.v1': on(withReason, (event) =>
      move(event, { type: 'payment-declined', reason: event.data.reason }),
    ),
  })
}
