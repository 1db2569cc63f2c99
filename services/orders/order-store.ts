import * as z from 'zod'
import type { Operation, StateStore } from '#lib/dapr.ts'
import { AppError } from '#lib/errors.ts'
import { createTurns } from '#lib/in-turn.ts'
import { retryOnConflict } from '#lib/retry-on-conflict.ts'
import { decide, orderSchema, type Changed, type Decision, type Order, type OrderEvent, type Trigger } from './order.ts'

// A shopper's orders and the list of them share a hash tag: they commit together.
const orderKey = (userId: string, orderId: string) => `order:{${userId}}:${orderId}`
const headKey = (userId: string) => `orders:{${userId}}`
const pageKey = (userId: string, page: number) => `orders:{${userId}}:${page}`

/**
 * A shopper's order ids are stored in pages, oldest first, so a list of any length costs a few
 * reads by key.
 */
export const pageSize = 100
const headSchema = z.object({ count: z.int().min(0), page: z.int().min(0) })
const pageSchema = z.object({ ids: z.array(z.string()) })

/** Where a list continues: at this order, then older ones. */
export type Position = { page: number; index: number }

export type OrderStore = ReturnType<typeof createOrderStore>

/**
 * Creates the store of orders. Everything throws `unavailable`, and changes nothing, while the
 * store is unavailable.
 */
export function createOrderStore(deps: { state: StateStore; now: () => Date }) {
  const { state, now } = deps
  const inTurn = createTurns()
  const get = async (userId: string, orderId: string): Promise<Order | undefined> =>
    (await state.get(orderKey(userId, orderId), orderSchema))?.value

  return {
    /** Returns the order with this id, or undefined. */
    get,

    /**
     * Stores a new order, its entry in the shopper's list and its event, all or none. Returns the
     * stored order: the new one, or the one placed before under the same key.
     */
    async insert({ order, event }: Changed): Promise<Order> {
      const { userId, orderId } = order
      return inTurn([userId], () =>
        retryOnConflict(async () => {
          const head = await state.get(headKey(userId), headSchema)
          const count = head?.value.count ?? 0
          const page = Math.floor(count / pageSize)
          const last = count % pageSize === 0 ? undefined : await state.get(pageKey(userId, page), pageSchema)
          try {
            await state.transact([
              { upsert: orderKey(userId, orderId), value: order, firstWrite: true },
              {
                upsert: headKey(userId),
                value: { count: count + 1, page },
                ...(head ? { etag: head.etag } : { firstWrite: true }),
              },
              {
                upsert: pageKey(userId, page),
                value: { ids: [...(last?.value.ids ?? []), orderId] },
                ...(last ? { etag: last.etag } : { firstWrite: true }),
              },
              eventOperation(event),
            ])
            return order
          } catch (error) {
            // Either the same request came twice at once, or the shopper placed another order in
            // between.
            const earlier =
              error instanceof AppError && error.kind === 'conflict' ? await get(userId, orderId) : undefined
            if (earlier) return earlier
            throw error
          }
        }),
      )
    },

    /**
     * Moves an order by `trigger` and stores it with its event in one transaction. Returns what was
     * decided, or undefined if there is no such order.
     */
    async move(userId: string, orderId: string, trigger: Trigger): Promise<Decision | undefined> {
      return retryOnConflict(async () => {
        const stored = await state.get(orderKey(userId, orderId), orderSchema)
        if (!stored) return undefined
        const decision = decide(stored.value, trigger, now())
        if (decision.outcome !== 'changed') return decision
        await state.transact([
          { upsert: orderKey(userId, orderId), value: decision.order, etag: stored.etag },
          eventOperation(decision.event),
        ])
        return decision
      })
    },

    /**
     * Returns up to `limit` of a shopper's orders, newest first, from `position` (default: the
     * newest). Undefined if the list never had that position.
     */
    async list(
      userId: string,
      limit: number,
      position: Position | undefined,
    ): Promise<{ orders: Order[]; next: Position | undefined } | undefined> {
      const head = await state.get(headKey(userId), headSchema)
      const count = head?.value.count ?? 0
      const newest = count - 1
      const from = position ? position.page * pageSize + position.index : newest
      if (from > newest) return position ? undefined : { orders: [], next: undefined }
      if (from < 0) return { orders: [], next: undefined }
      const to = Math.max(0, from - limit + 1)
      const pageNumbers = [...new Set([Math.floor(to / pageSize), Math.floor(from / pageSize)])]
      const pages = await state.bulkGet(
        pageNumbers.map((n) => pageKey(userId, n)),
        pageSchema,
      )
      const ids: string[] = []
      for (let i = from; i >= to; i--) {
        const id = pages.get(pageKey(userId, Math.floor(i / pageSize)))?.value.ids[i % pageSize]
        if (id !== undefined) ids.push(id)
      }
      const found = await state.bulkGet(
        ids.map((id) => orderKey(userId, id)),
        orderSchema,
      )
      return {
        orders: ids.flatMap((id) => found.get(orderKey(userId, id))?.value ?? []),
        next: to === 0 ? undefined : { page: Math.floor((to - 1) / pageSize), index: (to - 1) % pageSize },
      }
    },
  }
}

// All events of an order have its id as key, so they arrive in the order of their commits.
const eventOperation = (event: OrderEvent): Operation => ({ event: { ...event, key: event.data.orderId } })
