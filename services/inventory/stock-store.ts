import { createHash } from 'node:crypto'
import * as z from 'zod'
import { createBatches, type Draft } from '#lib/batches.ts'
import type { StateStore } from '#lib/dapr.ts'
import { AppError, rejected } from '#lib/errors.ts'
import { groupsOf } from '#lib/groups.ts'
import {
  adjust,
  emptyStock,
  level,
  reservationSchema,
  setSupply,
  stockSchema,
  toTell,
  type Decision,
  type Rejected,
  type Reservation,
  type Stock,
} from './stock.ts'

// One hash tag for everything: an order reserves several SKUs at once, and what commits together
// shares a tag.
export const stockKey = (sku: string) => `stock:{inventory}:${keyPart(sku)}`
// A SKU may contain any character, but Dapr refuses keys with "||" and delivers no event whose key
// is not printable ASCII.
const keyPart = (sku: string) => encodeURIComponent(sku)
export const reservationKey = (orderId: string) => `reservation:{inventory}:${orderId}`
const adjustmentKey = (adjustmentId: string) =>
  `adjustment:{inventory}:${createHash('sha256').update(adjustmentId).digest('hex')}`

const adjustmentSchema = z.object({ sku: z.string(), delta: z.int() })

/** What is available has a topic of its own: orders need not hear of it. */
const levelsTopic = 'stock-levels'
/** So that an import does not stand before live orders. */
const importsTopic = 'stock-imports'
/** A batch has 2,000 keys. */
const skusOfPart = 500

/** The total that a source has supplied of a SKU. */
export type Supply = { sku: string; quantity: number }

type Decide = (known: Reservation | undefined, stock: ReadonlyMap<string, Stock>) => Decision

export type StockStore = ReturnType<typeof createStockStore>

/**
 * Creates the store of stock and reservations. Everything throws `unavailable`, and changes
 * nothing, while the store is unavailable.
 */
export function createStockStore({ state, now = Date.now }: { state: StateStore; now?: () => number }) {
  const batches = createBatches(state)
  const readStock = (draft: Draft, sku: string) => draft.get(stockKey(sku), stockSchema)

  /** Drafts a SKU's stock, and tells others of it if they are to hear. */
  function write(draft: Draft, stock: Stock, { topic = levelsTopic, exact }: { topic?: string; exact: boolean }): void {
    const { sku } = stock
    const told = toTell(stock, now(), { exact })
    draft.put(stockKey(sku), told ?? stock)
    if (told)
      draft.tell({ type: 'stock.levels-changed.v1', topic, list: 'levels', id: keyPart(sku), item: level(told) })
  }

  /** Decides what a source has supplied. Throws `rejected` insufficient_stock. */
  function decideSupply(draft: Draft, source: string, { sku, quantity }: Supply): { stock: Stock; isChanged: boolean } {
    const decision = setSupply(readStock(draft, sku) ?? emptyStock(sku), source, quantity)
    if (decision.outcome === 'rejected') throw refusal(sku, decision)
    return { stock: decision.stock, isChanged: decision.outcome === 'changed' }
  }

  return {
    batches,

    /** Returns the stock of those SKUs that have a record. */
    async levels(skus: string[]): Promise<Stock[]> {
      const found = await state.bulkGet([...new Set(skus)].map(stockKey), stockSchema)
      return [...found.values()].map((row) => row.value)
    },

    /**
     * Decides about an order from its reservation and the stock of `skus`, and drafts stock,
     * reservation and event. The draft must name the keys of all of them.
     */
    decideOrder(draft: Draft, orderId: string, skus: string[], decide: Decide): Decision {
      const stock = new Map<string, Stock>()
      for (const sku of skus) {
        const found = readStock(draft, sku)
        if (found) stock.set(sku, found)
      }
      const decision = decide(draft.get(reservationKey(orderId), reservationSchema), stock)
      if (decision.outcome !== 'changed') return decision
      const { reservation, event } = decision
      draft.put(reservationKey(orderId), reservation)
      for (const changed of decision.stock) write(draft, changed, { exact: false })
      if (event) draft.publish({ ...event, key: orderId })
      return decision
    },

    /**
     * Changes the units on hand, once per `adjustmentId`. Returns the stock. Throws `rejected`
     * insufficient_stock, or adjustment_id_reused if the id was used for a different change.
     */
    adjust(change: { sku: string; delta: number; adjustmentId: string }): Promise<Stock> {
      const { sku, delta, adjustmentId } = change
      const key = adjustmentKey(adjustmentId)
      return batches.commit({
        keys: [stockKey(sku), key],
        decide(draft) {
          const before = readStock(draft, sku) ?? emptyStock(sku)
          const done = draft.get(key, adjustmentSchema)
          if (done) {
            if (done.sku !== sku || done.delta !== delta)
              throw rejected('adjustment_id_reused', 'this adjustment id was used for a different adjustment')
            return before
          }
          const decision = adjust(before, delta)
          if (decision.outcome === 'rejected') throw refusal(sku, decision)
          draft.put(key, { sku, delta })
          write(draft, decision.stock, { exact: true })
          return decision.stock
        },
      })
    },

    /**
     * Sets the total that a source has supplied so far. Returns the stock. Throws `rejected`
     * insufficient_stock.
     */
    setSupply({ source, ...supply }: Supply & { source: string }): Promise<Stock> {
      return batches.commit({
        keys: [stockKey(supply.sku)],
        decide(draft) {
          const { stock, isChanged } = decideSupply(draft, source, supply)
          if (isChanged) write(draft, stock, { exact: true })
          return stock
        },
      })
    },

    /**
     * Does what `setSupply` does for groups of SKUs, each all or none.
     * Says for each group whether it was refused: `rejected` insufficient_stock. No SKU twice.
     */
    async setSupplies(source: string, groups: Supply[][]): Promise<(AppError | undefined)[]> {
      const decide = (draft: Draft, supplies: Supply[]): { changed: Stock[] } | AppError => {
        try {
          const decided = supplies.map((supply) => decideSupply(draft, source, supply))
          return { changed: decided.flatMap(({ stock, isChanged }) => (isChanged ? [stock] : [])) }
        } catch (error) {
          if (error instanceof AppError) return error
          throw error
        }
      }
      const works = groupsOf(groups, { size: skusOfPart, sizeOf: ({ length }) => length }).map((part) =>
        batches.commit({
          keys: part.flat().map(({ sku }) => stockKey(sku)),
          decide(draft) {
            const results = part.map((supplies) => decide(draft, supplies))
            const changed = results.flatMap((result) => (result instanceof AppError ? [] : result.changed))
            for (const stock of changed) write(draft, stock, { topic: importsTopic, exact: true })
            return results.map((result) => (result instanceof AppError ? result : undefined))
          },
        }),
      )
      return (await Promise.all(works)).flat()
    },
  }
}

const refusal = (sku: string, { reason }: Rejected<'insufficient_stock'>) =>
  rejected(reason, `fewer units of ${sku} would be on hand than are reserved and sold`)
