import * as z from 'zod'

const seconds = z.coerce.number().int().min(1).max(86_400)

/** Settings of orders, besides those of every service. */
export const settings = {
  /** An order whose stock has not been reserved by then is cancelled. */
  STOCK_TIMEOUT_S: seconds.default(15 * 60),
  /** An order that has not been paid by then, counted from its reservation, is cancelled. */
  PAYMENT_TIMEOUT_S: seconds.default(10 * 60),
  /** No new orders are taken while the oldest one has waited for stock for longer than this. */
  ORDERS_MAX_WAIT_MS: z.coerce.number().int().min(100).max(600_000).default(2_000),
}
