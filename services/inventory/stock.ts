import * as z from 'zod'

// The rules of stock, without I/O: what is in, what an order or an operator asks, what comes of it.

const count = z.int().min(0)

/** Stock of one SKU, as stored. available = onHand - reserved - sold is never below 0. */
export const stockSchema = z.object({
  sku: z.string(),
  onHand: count,
  /** Held for orders that are not terminal. */
  reserved: count,
  /** Of confirmed orders. */
  sold: count,
  /** Grows by one with each change. */
  version: count,
  /** What each source has supplied in all. */
  supplies: z.record(z.string(), count),
})
export type Stock = z.infer<typeof stockSchema>

export const lineSchema = z.object({ sku: z.string().min(1), quantity: z.int().min(1) })
export type Line = z.infer<typeof lineSchema>

/**
 * What was decided about an order, as stored. It is there from the first event on, so that it shows
 * which events were handled.
 */
export const reservationSchema = z.object({
  orderId: z.string(),
  userId: z.string(),
  status: z.enum(['reserved', 'rejected', 'released', 'sold', 'cancelled-before-reservation']),
  lines: z.array(lineSchema),
})
export type Reservation = z.infer<typeof reservationSchema>

export type Level = { sku: string; available: number; version: number }

export type StockEvent =
  | {
      type: 'stock.stock-reserved.v1' | 'stock.stock-released.v1' | 'stock.stock-sold.v1'
      data: { orderId: string; userId: string; levels: Level[] }
    }
  | { type: 'stock.stock-rejected.v1'; data: { orderId: string; userId: string; reason: 'out_of_stock'; sku: string } }
  | { type: 'stock.stock-adjusted.v1'; data: { levels: Level[] } }

/**
 * What to store and tell. `handled`: this event's work is done already, or it asks for none.
 * `impossible`: no order of events leads here, so that trying again cannot help.
 */
export type Decision =
  | { outcome: 'changed'; reservation: Reservation; stock: Stock[]; event?: StockEvent }
  | { outcome: 'handled' }
  | { outcome: 'impossible' }

const handled: Decision = { outcome: 'handled' }

export const available = (s: Stock): number => s.onHand - s.reserved - s.sold
export const level = (s: Stock): Level => ({ sku: s.sku, available: available(s), version: s.version })
export const emptyStock = (sku: string): Stock => ({ sku, onHand: 0, reserved: 0, sold: 0, version: 0, supplies: {} })

/**
 * Reserves all lines of a placed order or, when one asks for more than there is, none of them. A
 * SKU that is not in `stock` has 0 available.
 */
export function reserve(
  known: Reservation | undefined,
  order: { orderId: string; userId: string; lines: Line[] },
  stock: ReadonlyMap<string, Stock>,
): Decision {
  if (known) return handled
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
    event: { type: 'stock.stock-reserved.v1', data: { orderId, userId, levels: changed.map(level) } },
  }
}

/**
 * Gives back what a cancelled order holds. For an order that is not known it remembers the
 * cancellation, so that a later `reserve` does nothing.
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
  if (known.status === 'sold') return { outcome: 'impossible' }
  if (known.status !== 'reserved') return handled
  const changed = move(known.lines, stock, (s, quantity) => ({ ...s, reserved: s.reserved - quantity }))
  return {
    outcome: 'changed',
    reservation: { ...known, status: 'released' },
    stock: changed,
    event: {
      type: 'stock.stock-released.v1',
      data: { orderId: known.orderId, userId: known.userId, levels: changed.map(level) },
    },
  }
}

/** Turns what a confirmed order holds into what is sold. */
export function sell(known: Reservation | undefined, stock: ReadonlyMap<string, Stock>): Decision {
  if (known?.status === 'sold') return handled
  if (known?.status !== 'reserved') return { outcome: 'impossible' }
  const changed = move(known.lines, stock, (s, quantity) => ({
    ...s,
    reserved: s.reserved - quantity,
    sold: s.sold + quantity,
  }))
  return {
    outcome: 'changed',
    reservation: { ...known, status: 'sold' },
    stock: changed,
    event: {
      type: 'stock.stock-sold.v1',
      data: { orderId: known.orderId, userId: known.userId, levels: changed.map(level) },
    },
  }
}

/**
 * Changes what is on hand by `delta`. 'insufficient_stock': less would be on hand than is reserved
 * and sold.
 */
export function adjust(stock: Stock, delta: number): Stock | 'insufficient_stock' {
  const changed = { ...stock, onHand: stock.onHand + delta, version: stock.version + 1 }
  return available(changed) < 0 || changed.onHand < 0 ? 'insufficient_stock' : changed
}

/**
 * States what `source` has supplied in all; what is on hand moves by the difference to what it
 * stated before. 'unchanged': it said so before. 'insufficient_stock': as for `adjust`.
 */
export function setSupply(
  stock: Stock | undefined,
  sku: string,
  source: string,
  quantity: number,
): Stock | 'unchanged' | 'insufficient_stock' {
  const before = stock && Object.hasOwn(stock.supplies, source) ? stock.supplies[source]! : undefined
  if (before === quantity) return 'unchanged'
  const changed = adjust(stock ?? emptyStock(sku), quantity - (before ?? 0))
  return changed === 'insufficient_stock'
    ? changed
    : { ...changed, supplies: { ...changed.supplies, [source]: quantity } }
}

/** Stock that is reserved has a row: rows are never deleted. */
function move(
  lines: Line[],
  stock: ReadonlyMap<string, Stock>,
  change: (s: Stock, quantity: number) => Stock,
): Stock[] {
  return lines.map(({ sku, quantity }) => {
    const before = stock.get(sku)
    if (!before) throw new Error(`no stock record for the reserved SKU ${sku}`)
    const after = change(before, quantity)
    if (available(after) < 0 || after.reserved < 0) throw new Error(`stock of ${sku} would go below zero`)
    return { ...after, version: before.version + 1 }
  })
}
