import * as z from 'zod'
import { ignored, on, type EventHandlers, type Verdict } from '#lib/consumer.ts'
import type { Decision, Trigger } from './order.ts'
import { orderKey, type OrderStore } from './order-store.ts'
import type { UsersClient } from './users-client.ts'

const order = z.object({ orderId: z.string().min(1), userId: z.string().min(1) })
const orderWithReason = order.extend({ reason: z.string().min(1) })
const orderWithRefund = order.extend({ refunded: z.object({ amount: z.int().min(0) }) })

const user = z.object({ userId: z.string().min(1) })

/**
 * Creates the handlers of topics `stock` and `payments`, which move orders, and `users`. The
 * order's status shows which events were handled, so there is no inbox.
 */
export function createEventHandlers(deps: { store: OrderStore; users: Pick<UsersClient, 'forget'> }): EventHandlers {
  const { store, users } = deps
  const moves = <T extends z.infer<typeof order>>(schema: z.ZodType<T>, trigger: (data: T) => Trigger) =>
    on(schema, {
      keys: ({ data }) => [orderKey(data.userId, data.orderId)],
      decide: ({ data }, draft) => verdictOf(data.orderId, store.move(draft, data.userId, data.orderId, trigger(data))),
    })

  return {
    'stock.stock-reserved.v1': moves(order, () => ({ type: 'stock-reserved' })),
    'stock.stock-rejected.v1': moves(orderWithReason, ({ reason }) => ({ type: 'stock-rejected', reason })),
    'payments.payment-captured.v1': moves(order, () => ({ type: 'payment-captured' })),
    'payments.payment-declined.v1': moves(orderWithReason, ({ reason }) => ({ type: 'payment-declined', reason })),
    'payments.payment-refunded.v1': on(orderWithRefund, {
      keys: ({ data }) => [orderKey(data.userId, data.orderId)],
      decide: ({ data }, draft) =>
        verdictOf(data.orderId, store.refund(draft, data.userId, data.orderId, data.refunded.amount)),
    }),
    'users.user-deactivated.v1': on(user, {
      keys: () => [],
      decide({ data }) {
        users.forget(data.userId)
        return ignored
      },
    }),
  }
}

function verdictOf(orderId: string, decision: Decision | undefined): Verdict {
  // An order is committed before its first event is published, so a retry would not help.
  if (!decision) return { outcome: 'impossible', reason: 'unknown order' }
  switch (decision.outcome) {
    case 'rejected':
      return { outcome: 'impossible', reason: decision.reason }
    case 'unchanged':
      return ignored
    case 'changed':
      return { outcome: 'done', line: { orderId, status: decision.order.status } }
  }
}
