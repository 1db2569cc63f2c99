import * as z from 'zod'
import type { Operation, StateStore } from '#lib/dapr.ts'
import { AppError } from '#lib/errors.ts'
import { createTurns } from '#lib/in-turn.ts'
import { retryOnConflict } from '#lib/retry-on-conflict.ts'
import {
  decide,
  orderSchema,
  type Decided,
  type Order,
  type OrderEvent,
  type Rejection,
  type Trigger,
} from './order.ts'

// A shopper's orders and the list of them share a hash tag: they commit together.
const orderKey = (userId: string, orderId: string) => `order:{${userId}}:${orderId}`
const headKey = (userId: string) => `orders:{${userId}}`
const pageKey = (userId: string, page: number) => `orders:{${userId}}:${page}`

/**
 * A shopper's orders are listed in pages, oldest first, so that a list of any length costs a few
 * reads by key.
 */
export const pageSize = 100
const headSchema = z.object({ count: z.int().min(0), page: z.int().min(0) })
const pageSchema = z.object({ ids: z.array(z.string()) })

/** Where a list goes on: this order, then older ones. */
export type Position = { page: number; index: number }

export type OrderStore = ReturnType<typeof createOrderStore>

/**
 * Reads and moves orders. Everything here throws AppError `unavailable` while the store is away,
 * and changes nothing then.
 */
export function createOrderStore(state: StateStore) {
  const inTurn = createTurns()
  const get = async (userId: string, orderId: string): Promise<Order | undefined> =>
    (await state.get(orderKey(userId, orderId), orderSchema))?.value

  return {
    get,

    /**
     * Stores a new order, its place in the shopper's list and its event. Answers the order that is
     * there: the new one, or one placed before under the same key.
     */
    async insert({ order, events }: Decided): Promise<Order> {
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
              ...events.map(told(order)),
            ])
            return order
          } catch (error) {
            // Either the same request came twice at once, or the shopper placed another order
            // meanwhile.
            const earlier =
              error instanceof AppError && error.kind === 'conflict' ? await get(userId, orderId) : undefined
            if (earlier) return earlier
            throw error
          }
        }),
      )
    },

    /**
     * Moves an order by `trigger` and stores it with its event in one transaction; undefined if
     * there is no such order.
     */
    async move(
      userId: string,
      orderId: string,
      trigger: Trigger,
      now: () => string,
    ): Promise<Decided | Rejection | undefined> {
      return retryOnConflict(async () => {
        const stored = await state.get(orderKey(userId, orderId), orderSchema)
        if (!stored) return undefined
        const decided = decide(stored.value, trigger, now())
        if ('rejection' in decided || decided.events.length === 0) return decided
        await state.transact([
          { upsert: orderKey(userId, orderId), value: decided.order, etag: stored.etag },
          ...decided.events.map(told(decided.order)),
        ])
        return decided
      })
    },

    /**
     * A shopper's orders, newest first, from `position` (else from the newest). Answers
     * 'bad_position' for one that the list never had.
     */
    async list(
      userId: string,
      limit: number,
      position: Position | undefined,
    ): Promise<{ orders: Order[]; next: Position | undefined } | 'bad_position'> {
      const head = await state.get(headKey(userId), headSchema)
      const count = head?.value.count ?? 0
      const newest = count - 1
      const from = position ? position.page * pageSize + position.index : newest
      if (from > newest) return position ? 'bad_position' : { orders: [], next: undefined }
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

    /** Whether the store answers; throws `unavailable` if not. */
    async ping(): Promise<void> {
      await state.get('ready:{orders}', z.unknown())
    },
  }
}

/**
 * All events of an order have its id as key: they arrive in the order in which they were committed.
 */
const told =
  (order: Order) =>
  (event: OrderEvent): Operation => ({ event: { ...event, key: order.orderId } })
