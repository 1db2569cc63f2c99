import { createHash } from 'node:crypto'
import * as z from 'zod'
import type { Operation, StateStore, Versioned } from '#lib/dapr.ts'
import { rejected } from '#lib/errors.ts'
import { createTurns } from '#lib/in-turn.ts'
import { retryOnConflict } from '#lib/retry-on-conflict.ts'
import {
  adjust,
  emptyStock,
  level,
  reservationSchema,
  setSupply,
  stockSchema,
  type Decision,
  type Rejected,
  type Reservation,
  type Stock,
  type StockEvent,
} from './stock.ts'

// One hash tag for everything: an order reserves several SKUs at once, and what commits together
// shares a tag.
const stockKey = (sku: string) => `stock:{inventory}:${keyPart(sku)}`
// A SKU may contain any character, but Dapr refuses keys with "||" and delivers no event whose key
// is not printable ASCII.
const keyPart = (sku: string) => encodeURIComponent(sku)
const reservationKey = (orderId: string) => `reservation:{inventory}:${orderId}`
const adjustmentKey = (adjustmentId: string) =>
  `adjustment:{inventory}:${createHash('sha256').update(adjustmentId).digest('hex')}`

const adjustmentSchema = z.object({ sku: z.string(), delta: z.int() })

type Decide = (known: Reservation | undefined, stock: ReadonlyMap<string, Stock>) => Decision

export type StockStore = ReturnType<typeof createStockStore>

/**
 * Creates the store of stock and reservations. Everything throws `unavailable`, and changes
 * nothing, while the store is unavailable.
 */
export function createStockStore({ state }: { state: StateStore }) {
  const inTurn = createTurns()

  async function readStock(skus: string[]): Promise<Map<string, Versioned<Stock>>> {
    const found = await state.bulkGet([...new Set(skus)].map(stockKey), stockSchema)
    return new Map([...found.values()].map((row) => [row.value.sku, row]))
  }

  // Sorted by key: transactions that lock the same rows lock them in the same order.
  const stockWrites = (changed: Stock[], before: ReadonlyMap<string, Versioned<Stock>>): Operation[] =>
    changed
      .map((value) => {
        const etag = before.get(value.sku)?.etag
        return { upsert: stockKey(value.sku), value, ...(etag === undefined ? { firstWrite: true } : { etag }) }
      })
      .sort((a, b) => (a.upsert < b.upsert ? -1 : 1))

  const adjusted = (stock: Stock): Operation => {
    const event: StockEvent = { type: 'stock.stock-adjusted.v1', data: { levels: [level(stock)] } }
    return { event: { ...event, key: keyPart(stock.sku), subject: stock.sku } }
  }

  /** Decides from the given reservation and the current stock, and stores the decision. */
  async function settle(
    orderId: string,
    known: Versioned<Reservation> | undefined,
    skus: string[],
    decide: Decide,
  ): Promise<Decision> {
    const stock = await readStock(skus)
    const decision = decide(known?.value, new Map([...stock].map(([sku, row]) => [sku, row.value])))
    if (decision.outcome !== 'changed') return decision
    const { reservation, event } = decision
    await state.transact([
      { upsert: reservationKey(orderId), value: reservation, ...(known ? { etag: known.etag } : { firstWrite: true }) },
      ...stockWrites(decision.stock, stock),
      ...(event ? [{ event: { ...event, key: orderId } }] : []),
    ])
    return decision
  }

  return {
    /** Returns the stock of those SKUs that have a record. */
    async levels(skus: string[]): Promise<Stock[]> {
      return [...(await readStock(skus)).values()].map((row) => row.value)
    },

    /**
     * Decides about an order from its reservation and the stock of `skus` and of the SKUs it has
     * reserved. Stores stock, reservation and event in one transaction, and starts over when
     * another writer got in between.
     */
    async decideOrder(orderId: string, skus: string[], decide: Decide): Promise<Decision> {
      return retryOnConflict(async () => {
        const known = await state.get(reservationKey(orderId), reservationSchema)
        const concerned = [
          ...new Set([...skus, ...(known?.value.status === 'reserved' ? known.value.lines.map((l) => l.sku) : [])]),
        ]
        return inTurn(concerned, () => settle(orderId, known, concerned, decide))
      })
    },

    /**
     * Changes the units on hand, once per `adjustmentId`. Returns the stock. Throws `rejected`
     * insufficient_stock, or adjustment_id_reused if the id was used for a different change.
     */
    async adjust(change: { sku: string; delta: number; adjustmentId: string }): Promise<Stock> {
      const { sku, delta, adjustmentId } = change
      const key = adjustmentKey(adjustmentId)
      return inTurn([sku], () =>
        retryOnConflict(async () => {
          const [done, stock] = await Promise.all([state.get(key, adjustmentSchema), readStock([sku])])
          const before = stock.get(sku)?.value
          if (done) {
            if (done.value.sku !== sku || done.value.delta !== delta)
              throw rejected('adjustment_id_reused', 'this adjustment id was used for a different adjustment')
            return before ?? emptyStock(sku)
          }
          const decision = adjust(before ?? emptyStock(sku), delta)
          if (decision.outcome === 'rejected') throw refusal(sku, decision)
          await state.transact([
            { upsert: key, value: { sku, delta }, firstWrite: true },
            ...stockWrites([decision.stock], stock),
            adjusted(decision.stock),
          ])
          return decision.stock
        }),
      )
    },

    /**
     * Sets the total that a source has supplied so far. Returns the stock. Throws `rejected`
     * insufficient_stock.
     */
    async setSupply(supply: { sku: string; source: string; quantity: number }): Promise<Stock> {
      const { sku, source, quantity } = supply
      return inTurn([sku], () =>
        retryOnConflict(async () => {
          const stock = await readStock([sku])
          const decision = setSupply(stock.get(sku)?.value ?? emptyStock(sku), source, quantity)
          if (decision.outcome === 'rejected') throw refusal(sku, decision)
          if (decision.outcome === 'changed')
            await state.transact([...stockWrites([decision.stock], stock), adjusted(decision.stock)])
          return decision.stock
        }),
      )
    },
  }
}

const refusal = (sku: string, { reason }: Rejected<'insufficient_stock'>) =>
  rejected(reason, `fewer units of ${sku} would be on hand than are reserved and sold`)
