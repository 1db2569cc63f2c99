// What a shop has stored, as far as the rules compare it. Read leniently: an audit must not depend
// on the code that it audits.
import * as z from 'zod'

const money = z.object({ amount: z.int(), currency: z.string() })
const line = z.object({ sku: z.string(), quantity: z.int() })

export const orderSchema = z.object({
  orderId: z.string(),
  userId: z.string(),
  status: z.enum(['PENDING', 'RESERVED', 'CONFIRMED', 'CANCELLED']),
  lines: z.array(line),
  total: money,
  placedAt: z.string(),
  deadline: z.string().optional(),
  payment: z.object({ status: z.string(), refunded: z.int() }).optional(),
})
export type Order = z.infer<typeof orderSchema>

export const reservationSchema = z.object({
  orderId: z.string(),
  status: z.enum(['reserved', 'rejected', 'released', 'sold', 'cancelled-before-reservation']),
  lines: z.array(line),
})
export type Reservation = z.infer<typeof reservationSchema>

export const stockSchema = z.object({
  sku: z.string(),
  onHand: z.int(),
  reserved: z.int(),
  sold: z.int(),
  supplies: z.record(z.string(), z.int()),
  /** What the catalogue was told last. */
  told: z.object({ available: z.int() }).optional(),
})
export type Stock = z.infer<typeof stockSchema>

export const adjustmentSchema = z.object({ sku: z.string(), delta: z.int() })
export type Adjustment = z.infer<typeof adjustmentSchema>

export const paymentSchema = z.object({
  orderId: z.string(),
  status: z.enum(['PENDING', 'CAPTURED', 'DECLINED', 'REFUNDED', 'FORBIDDEN']),
  charge: z.object({ amount: money }).optional(),
  providerId: z.string(),
  /** Missing where a refund is always of everything. */
  refunds: z.array(z.object({ amount: z.int(), status: z.string(), strayCharge: z.string().optional() })).optional(),
  due: z.string().optional(),
})
export type Payment = z.infer<typeof paymentSchema>

/** One charge at the provider that succeeded. */
export const chargeSchema = z.object({
  id: z.string(),
  amount: z.int(),
  currency: z.string(),
  status: z.string(),
  amount_refunded: z.int(),
  metadata: z.object({ order_id: z.string() }),
})
export type Charge = z.infer<typeof chargeSchema>

export type ShopState = {
  orders: Order[]
  reservations: Reservation[]
  stock: Stock[]
  adjustments: Adjustment[]
  payments: Payment[]
  /** Of the provider's ledger, those that succeeded. */
  charges: Charge[]
  /** What the catalogue tells shoppers, by SKU. */
  available: Map<string, number>
  /** Events that are committed and not yet published, by service. */
  unpublished: Record<string, number>
  /** Rows whose values do not parse; they are missing above. */
  unreadable: { key: string; reason: string }[]
  /** Keys of the rows that list orders by shopper. */
  listed: string[]
  /** Keys of rows that say when something is to be looked at, by service, without the app's id. */
  due: { service: string; key: string }[]
}
