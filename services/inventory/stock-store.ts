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
  type Reservation,
  type Stock,
  type StockEvent,
} from './stock.ts'

// One hash tag for everything: all lines or none spans SKUs, and what commits together shares a
// tag.
const stockKey = (sku: string) => `stock:{inventory}:${keyPart(sku)}`
/**
 * A SKU may have anything in it, but Dapr refuses keys with "||", and delivers no event whose key
 * is not printable ASCII.
 */
const keyPart = (sku: string) => encodeURIComponent(sku)
const reservationKey = (orderId: string) => `reservation:{inventory}:${orderId}`
const adjustmentKey = (adjustmentId: string) =>
  `adjustment:{inventory}:${createHash('sha256').update(adjustmentId).digest('hex')}`

const adjustmentSchema = z.object({ sku: z.string(), delta: z.int() })

type Decide = (known: Reservation | undefined, stock: ReadonlyMap<string, Stock>) => Decision

export type StockStore = ReturnType<typeof createStockStore>

/**
 * Reads and changes stock. Everything here throws AppError `unavailable` while the store is away,
 * and changes nothing then.
 */
export function createStockStore(state: StateStore) {
  const inTurn = createTurns()

  async function readStock(skus: string[]): Promise<Map<string, Versioned<Stock>>> {
    const found = await state.bulkGet([...new Set(skus)].map(stockKey), stockSchema)
    return new Map([...found.values()].map((row) => [row.value.sku, row]))
  }

  /** Keys in sorted order: transactions that lock the same rows lock them in the same order. */
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

  /**
   * Decides from the reservation as it was read and the stock as it is now, and stores the
   * decision.
   */
  async function settle(
    orderId: string,
    known: Versioned<Reservation> | undefined,
    skus: string[],
    decide: Decide,
  ): Promise<Decision['outcome']> {
    const stock = await readStock(skus)
    const decision = decide(known?.value, new Map([...stock].map(([sku, row]) => [sku, row.value])))
    if (decision.outcome !== 'changed') return decision.outcome
    const { reservation, event } = decision
    await state.transact([
      { upsert: reservationKey(orderId), value: reservation, ...(known ? { etag: known.etag } : { firstWrite: true }) },
      ...stockWrites(decision.stock, stock),
      ...(event ? [{ event: { ...event, key: orderId } }] : []),
    ])
    return 'changed'
  }

  return {
    /** The stock records of those SKUs that have one. */
    async levels(skus: string[]): Promise<Stock[]> {
      return [...(await readStock(skus)).values()].map((row) => row.value)
    },

    /**
     * Decides about an order from its reservation and the stock of `skus` and of the SKUs it has
     * reserved, and stores stock, reservation and event in one transaction; again when somebody
     * else wrote in between.
     */
    async decideOrder(orderId: string, skus: string[], decide: Decide): Promise<Decision['outcome']> {
      return retryOnConflict(async () => {
        const known = await state.get(reservationKey(orderId), reservationSchema)
        const concerned = [
          ...new Set([...skus, ...(known?.value.status === 'reserved' ? known.value.lines.map((l) => l.sku) : [])]),
        ]
        return inTurn(concerned, () => settle(orderId, known, concerned, decide))
      })
    },

    /**
     * Changes what is on hand, once per `adjustmentId`; answers the stock. Throws
     * `insufficient_stock`, or `adjustment_id_reused` for another change.
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
              throw rejected('adjustment_id_reused', 'this adjustment_id was used for another adjustment')
            return before ?? emptyStock(sku)
          }
          const after = adjust(before ?? emptyStock(sku), delta)
          if (after === 'insufficient_stock') throw insufficientStock(sku)
          await state.transact([
            { upsert: key, value: { sku, delta }, firstWrite: true },
            ...stockWrites([after], stock),
            adjusted(after),
          ])
          return after
        }),
      )
    },

    /** States what a source has supplied in all; answers the stock. Throws `insufficient_stock`. */
    async setSupply(supply: { sku: string; source: string; quantity: number }): Promise<Stock> {
      const { sku, source, quantity } = supply
      return inTurn([sku], () =>
        retryOnConflict(async () => {
          const stock = await readStock([sku])
          const before = stock.get(sku)?.value
          const after = setSupply(before, sku, source, quantity)
          if (after === 'insufficient_stock') throw insufficientStock(sku)
          if (after === 'unchanged') return before ?? emptyStock(sku)
          await state.transact([...stockWrites([after], stock), adjusted(after)])
          return after
        }),
      )
    },

    /** Whether the store answers; throws `unavailable` if not. */
    async ping(): Promise<void> {
      await state.get('ready:{inventory}', z.unknown())
    },
  }
}

const insufficientStock = (sku: string) =>
  rejected('insufficient_stock', `less of ${sku} would be on hand than is reserved and sold`)
