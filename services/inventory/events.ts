import * as z from 'zod'
import { ignored, on, type EventHandlers } from '#lib/consumer.ts'
import { lineSchema, release, reserve, sell, type Decision } from './stock.ts'
import { reservationKey, stockKey, type StockStore } from './stock-store.ts'

const order = z.object({
  orderId: z.string().min(1),
  userId: z.string().min(1),
  lines: z.array(lineSchema).min(1),
})
type Order = z.infer<typeof order>
type Rule = (order: Order, ...known: Parameters<typeof sell>) => Decision

/**
 * Creates the handlers of topic `orders`: they reserve, release and sell stock. The reservation
 * shows which events were handled, so there is no inbox.
 */
export function createEventHandlers({ store }: { store: StockStore }): EventHandlers {
  const settles = (rule: Rule, { isFirst } = { isFirst: false }) =>
    on(order, {
      keys: ({ data }) => [
        ...data.lines.map(({ sku }) => stockKey(sku)),
        ...(isFirst ? [] : [reservationKey(data.orderId)]),
      ],
      presumedAbsent: ({ data }) => (isFirst ? [reservationKey(data.orderId)] : []),
      decide({ data }, draft) {
        const { orderId, lines } = data
        const skus = lines.map(({ sku }) => sku)
        const decision = store.decideOrder(draft, orderId, skus, (known, stock) => rule(data, known, stock))
        switch (decision.outcome) {
          case 'rejected':
            return { outcome: 'impossible', reason: decision.reason }
          case 'unchanged':
            return ignored
          case 'changed':
            return { outcome: 'done', line: { orderId, reservation: decision.reservation.status } }
        }
      },
    })

  return {
    'orders.order-placed.v1': settles((data, known, stock) => reserve(known, data, stock), { isFirst: true }),
    'orders.order-cancelled.v1': settles(({ orderId, userId }, known, stock) =>
      release(known, { orderId, userId }, stock),
    ),
    'orders.order-confirmed.v1': settles((_, known, stock) => sell(known, stock)),
  }
}
