import * as z from 'zod'

/** Settings of payments besides those of every service. */
export const settings = {
  /**
   * How many calls to the provider may be under way at once, in each replica: at 0.3 s a charge, 64
   * make 213 a second.
   */
  PAYMENT_WORKERS: z.coerce.number().int().min(1).max(1_000).default(64),
  /** How long a payment is a worker's own: longer than asking and charging may take. */
  PAYMENT_LEASE_S: z.coerce.number().min(16).max(3_600).default(30),
  /** How often payments that are due are looked for. */
  PAYMENT_POLL_MS: z.coerce.number().int().min(50).max(60_000).default(1_000),
  /** By how much the provider's search lags behind at most: a minute, says Stripe. */
  PAYMENT_SEARCH_LAG_S: z.coerce.number().min(0).max(86_400).default(60),
}
