import * as z from 'zod'

// The rules of stock: what an order or an operator asks for, and what is decided. No I/O.

const count = z.int().min(0)

/** Stock of one SKU, as stored. `onHand - reserved - sold` is never below 0. */
export const stockSchema = z.object({
  sku: z.string(),
  onHand: count,
  /** Units held for orders that are not terminal. */
  reserved: count,
  /** Units of confirmed orders. */
  sold: count,
  /** Grows by one with each change. */
  version: count,
  /** Units that each source has supplied so far. */
  supplies: z.record(z.string(), count),
  /** What others heard of it last, and when (ms since 1970). */
  told: z.object({ available: count, ordered: count, at: count }).optional(),
})
export type Stock = z.infer<typeof stockSchema>

export const lineSchema = z.object({ sku: z.string().min(1), quantity: z.int().min(1) })
export type Line = z.infer<typeof lineSchema>

/**
 * What was decided about an order, as stored. It exists from the order's first event on and shows
 * which events were handled.
 */
export const reservationSchema = z.object({
  orderId: z.string(),
  userId: z.string(),
  status: z.enum(['reserved', 'rejected', 'released', 'sold', 'cancelled-before-reservation']),
  lines: z.array(lineSchema),
})
export type Reservation = z.infer<typeof reservationSchema>

/** What others hear of a SKU. `ordered`: units reserved and sold so far. */
export type Level = { sku: string; available: number; ordered: number; version: number }

/** What an order hears. */
export type StockEvent =
  | { type: 'stock.stock-reserved.v1'; data: { orderId: string; userId: string } }
  | { type: 'stock.stock-rejected.v1'; data: { orderId: string; userId: string; reason: 'out_of_stock'; sku: string } }

export type Rejected<Reason extends string> = { outcome: 'rejected'; reason: Reason }

/**
 * What to store and publish for an event. `unchanged`: its work is already done, or there is none.
 * `impossible`: no sequence of events leads here, so a retry cannot help.
 */
export type Decision =
  | { outcome: 'changed'; reservation: Reservation; stock: Stock[]; event?: StockEvent }
  | { outcome: 'unchanged' }
  | Rejected<'impossible'>

const unchanged: Decision = { outcome: 'unchanged' }
const impossible: Decision = { outcome: 'rejected', reason: 'impossible' }

export const available = (s: Stock): number => s.onHand - s.reserved - s.sold
export const level = (s: Stock): Level => ({
  sku: s.sku,
  available: available(s),
  ordered: s.reserved + s.sold,
  version: s.version,
})
export const emptyStock = (sku: string): Stock => ({ sku, onHand: 0, reserved: 0, sold: 0, version: 0, supplies: {} })

/** Up to so many units others hear of each one. */
const exactUnits = 20
/** Of more units, they hear when this share of what they know has changed, */
const noticeable = 1 / 20
/** or of any change, this long after they last heard. */
const quietMs = 60_000

/**
 * Returns the stock as others are to hear of it; undefined if they need not. Each level that is
 * told makes catalog write a whole product, and search index one: at 62 orders/s that took a
 * quarter of both cores. So what orders do to a well-stocked SKU is told when somebody would
 * notice; what is `exact` at once.
 */
export function toTell(stock: Stock, now: number, { exact }: { exact: boolean }): Stock | undefined {
  const [units, ordered] = [available(stock), stock.reserved + stock.sold]
  const { at, ...known } = stock.told ?? { available: 0, ordered: 0, at: 0 }
  if (units === known.available && ordered === known.ordered) return undefined
  const difference = Math.abs(units - known.available)
  const isNoticed =
    Math.min(units, known.available) <= exactUnits ? difference > 0 : difference > known.available * noticeable
  if (!exact && !isNoticed && now - at < quietMs) return undefined
  return { ...stock, told: { available: units, ordered, at: now } }
}

/**
 * Reserves all lines of a placed order, or none if one asks for more than is available. A SKU that
 * is not in `stock` has 0 available.
 */
export function reserve(
  known: Reservation | undefined,
  order: { orderId: string; userId: string; lines: Line[] },
  stock: ReadonlyMap<string, Stock>,
): Decision {
  if (known) return unchanged
  const { orderId, userId } = order
  const wanted = new Map<string, number>()
  for (const { sku, quantity } of order.lines) wanted.set(sku, (wanted.get(sku) ?? 0) + quantity)
  const lines = [...wanted].map(([sku, quantity]) => ({ sku, quantity }))
  const short = lines.find(({ sku, quantity }) => available(stock.get(sku) ?? emptyStock(sku)) < quantity)
  if (short) {
    return {
      outcome: 'changed',
      reservation: { orderId, userId, status: 'rejected', lines },
      stock: [],
      event: { type: 'stock.stock-rejected.v1', data: { orderId, userId, reason: 'out_of_stock', sku: short.sku } },
    }
  }
  const changed = move(lines, stock, (s, quantity) => ({ ...s, reserved: s.reserved + quantity }))
  return {
    outcome: 'changed',
    reservation: { orderId, userId, status: 'reserved', lines },
    stock: changed,
    event: { type: 'stock.stock-reserved.v1', data: { orderId, userId } },
  }
}

/**
 * Returns what a cancelled order holds to stock. The cancellation of an unknown order is
 * remembered, so a later `reserve` does nothing.
 */
export function release(
  known: Reservation | undefined,
  order: { orderId: string; userId: string },
  stock: ReadonlyMap<string, Stock>,
): Decision {
  if (!known)
    return {
      outcome: 'changed',
      reservation: { ...order, status: 'cancelled-before-reservation', lines: [] },
      stock: [],
    }
  if (known.status === 'sold') return impossible
  if (known.status !== 'reserved') return unchanged
  const changed = move(known.lines, stock, (s, quantity) => ({ ...s, reserved: s.reserved - quantity }))
  return { outcome: 'changed', reservation: { ...known, status: 'released' }, stock: changed }
}

/** Turns the units held for a confirmed order into sold ones. */
export function sell(known: Reservation | undefined, stock: ReadonlyMap<string, Stock>): Decision {
  if (known?.status === 'sold') return unchanged
  if (known?.status !== 'reserved') return impossible
  const changed = move(known.lines, stock, (s, quantity) => ({
    ...s,
    reserved: s.reserved - quantity,
    sold: s.sold + quantity,
  }))
  return { outcome: 'changed', reservation: { ...known, status: 'sold' }, stock: changed }
}

/**
 * Changes the units on hand by `delta`. Rejected if fewer would be on hand than are reserved and
 * sold.
 */
export function adjust(
  stock: Stock,
  delta: number,
): { outcome: 'changed'; stock: Stock } | Rejected<'insufficient_stock'> {
  const changed = { ...stock, onHand: stock.onHand + delta, version: stock.version + 1 }
  return available(changed) < 0 || changed.onHand < 0
    ? { outcome: 'rejected', reason: 'insufficient_stock' }
    : { outcome: 'changed', stock: changed }
}

/**
 * Sets the total that `source` has supplied so far: the units on hand change by the difference from
 * its previous total. Rejected as in `adjust`.
 */
export function setSupply(
  stock: Stock,
  source: string,
  quantity: number,
): { outcome: 'changed' | 'unchanged'; stock: Stock } | Rejected<'insufficient_stock'> {
  const before = Object.hasOwn(stock.supplies, source) ? stock.supplies[source] : undefined
  if (before === quantity) return { outcome: 'unchanged', stock }
  const decision = adjust(stock, quantity - (before ?? 0))
  if (decision.outcome === 'rejected') return decision
  return { ...decision, stock: { ...decision.stock, supplies: { ...stock.supplies, [source]: quantity } } }
}

// Reserved stock has a record: records are never deleted.
function move(
  lines: Line[],
  stock: ReadonlyMap<string, Stock>,
  change: (s: Stock, quantity: number) => Stock,
): Stock[] {
  return lines.map(({ sku, quantity }) => {
    const before = stock.get(sku)
    if (!before) throw new Error(`no stock record for the reserved SKU ${sku}`)
    const after = change(before, quantity)
    if (available(after) < 0 || after.reserved < 0) throw new Error(`stock of ${sku} would drop below zero`)
    return { ...after, version: before.version + 1 }
  })
}
