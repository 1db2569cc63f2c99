import { createBatches, type Batches, type Draft } from '#lib/batches.ts'
import type { StateStore } from '#lib/dapr.ts'
import { dueKey, type DueRow, type KeyRanges } from '#lib/key-ranges.ts'
import {
  decide,
  decideRefund,
  orderSchema,
  type Changed,
  type Decision,
  type Order,
  type OrderEvent,
  type Timeouts,
  type Trigger,
} from './order.ts'

// All rows of an order have its shopper as their hash tag: they commit together.
export const orderKey = (userId: string, orderId: string) => `order:{${userId}}:${orderId}`
/** A row per order, whose keys sort as the shopper's list does. */
const listPrefix = (userId: string) => `placed:{${userId}}:`
const listKey = (order: Order) => `${listPrefix(order.userId)}${positionOf(order)}`
const positionOf = ({ placedAt, orderId }: Order) => `${placedAt}:${orderId}`

/** Where a list continues: below this entry, which is `<placedAt>:<orderId>`. */
export type Position = string

/** Queues of due rows (lib/key-ranges.ts): orders that wait for stock, and for their payment. */
export const queues = { PENDING: 'stock', RESERVED: 'payment' } as const

/** Topics of events that have not the store's own. */
const topics: Partial<Record<OrderEvent['type'], string>> = {
  'orders.payment-requested.v1': 'payment-requests',
  'orders.payment-withdrawn.v1': 'payment-requests',
}

/** Of all orders in a page, as JSON: gRPC's limit is 4 MiB. */
const pageBytes = 3 * 1024 * 1024

export type OrderStore = ReturnType<typeof createOrderStore>

/**
 * Creates the store of orders. Everything throws `unavailable`, and changes nothing, while the
 * store is unavailable.
 */
export function createOrderStore(deps: { state: StateStore; ranges: KeyRanges; now: () => Date; timeouts: Timeouts }) {
  const { state, ranges, now, timeouts } = deps
  const batches: Batches = createBatches(state)
  const get = async (userId: string, orderId: string): Promise<Order | undefined> =>
    (await state.get(orderKey(userId, orderId), orderSchema))?.value

  /** Decides about a stored order and drafts the change. Undefined if there is no such order. */
  function change(
    draft: Draft,
    userId: string,
    orderId: string,
    rule: (order: Order) => Decision,
  ): Decision | undefined {
    const order = draft.get(orderKey(userId, orderId), orderSchema)
    if (!order) return undefined
    const decision = rule(order)
    if (decision.outcome === 'changed') write(draft, order, decision)
    return decision
  }

  return {
    batches,

    /** Returns the order with this id, or undefined. */
    get,

    /**
     * Stores a new order, its entry in the shopper's list and its event, all or none. Returns the
     * stored order: the new one, or the one placed before under the same key.
     */
    insert(placed: Changed): Promise<Order> {
      const { order } = placed
      const key = orderKey(order.userId, order.orderId)
      return batches.commit({
        keys: [],
        presumedAbsent: [key],
        decide(draft) {
          const earlier = draft.get(key, orderSchema)
          if (earlier) return earlier
          draft.put(listKey(order), {})
          write(draft, undefined, placed)
          return order
        },
      })
    },

    /** Moves an order in a draft that names its key. Undefined if there is no such order. */
    move: (draft: Draft, userId: string, orderId: string, trigger: Trigger) =>
      change(draft, userId, orderId, (order) => decide(order, trigger, now(), timeouts)),

    /** As `move`, for what was refunded so far, in minor units. */
    refund: (draft: Draft, userId: string, orderId: string, refunded: number) =>
      change(draft, userId, orderId, (order) => decideRefund(order, refunded, now())),

    /**
     * Moves an order by a row that is due, and removes the row. An order that no longer waits stays
     * as it is.
     */
    expire({ key, queue, tag: userId, id: orderId, at }: DueRow): Promise<Decision | undefined> {
      const trigger = queue === queues.PENDING ? 'stock-timeout' : 'payment-timeout'
      return batches.commit({
        keys: [orderKey(userId, orderId)],
        order: orderId,
        decide: (draft) => {
          draft.delete(key)
          return change(draft, userId, orderId, (order) =>
            order.deadline === at ? decide(order, { type: trigger }, now(), timeouts) : { outcome: 'unchanged', order },
          )
        },
      })
    },

    /**
     * Returns up to `limit` of a shopper's orders, newest first, from below `position` (default:
     * the newest). A page of large orders may be shorter.
     */
    async list(
      userId: string,
      limit: number,
      position: Position | undefined,
    ): Promise<{ orders: Order[]; next: Position | undefined }> {
      const prefix = listPrefix(userId)
      const keys = await ranges.before(prefix, `${prefix}${position ?? '~'}`, limit + 1)
      const found = await state.bulkGet(
        keys.slice(0, limit).map((key) => orderKey(userId, key.slice(key.lastIndexOf(':') + 1))),
        orderSchema,
      )
      let bytes = 0
      const orders: Order[] = []
      for (const { value } of found.values()) {
        bytes += Buffer.byteLength(JSON.stringify(value))
        if (bytes > pageBytes && orders.length > 0) break
        orders.push(value)
      }
      orders.sort((a, b) => (positionOf(a) < positionOf(b) ? 1 : -1))
      const last = orders.at(-1)
      return { orders, next: last && orders.length < keys.length ? positionOf(last) : undefined }
    },
  }
}

/** Drafts a changed order, its due row and its events. */
function write(draft: Draft, before: Order | undefined, { order, events }: Changed): void {
  const { userId, orderId } = order
  draft.put(orderKey(userId, orderId), order)
  const due = dueKeyOf(order)
  const dueBefore = before && dueKeyOf(before)
  if (dueBefore !== due) {
    if (dueBefore) draft.delete(dueBefore)
    if (due) draft.put(due, {})
  }
  for (const event of events) {
    const topic = topics[event.type]
    // All events of an order have its id as key, so they arrive in the order of their commits.
    draft.publish({ ...event, key: orderId, ...(topic !== undefined && { topic }) })
  }
}

const dueKeyOf = ({ status, deadline, userId, orderId }: Order): string | undefined =>
  deadline === undefined || (status !== 'PENDING' && status !== 'RESERVED')
    ? undefined
    : dueKey({ queue: queues[status], at: deadline, tag: userId, id: orderId })
