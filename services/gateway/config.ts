import * as z from 'zod'
import { serviceEnv } from '#lib/config.ts'

const count = z.coerce.number().int().min(1)

/** The gateway's environment: a service's, and what concerns its clients. */
export const gatewayEnv = {
  ...serviceEnv,
  /** Origins that may call the API from a browser, with commas between; none unless told. */
  CORS_ORIGINS: z
    .string()
    .default('')
    .transform((list) =>
      list
        .split(',')
        .map((origin) => origin.trim())
        .filter((origin) => origin !== ''),
    )
    .pipe(z.array(z.url({ protocol: /^https?$/, error: 'each must be an origin such as https://shop.example' }))),
  /** Proxies in front whose X-Forwarded-For is believed: a number of hops, or 0 for none. */
  TRUST_PROXY_HOPS: z.coerce.number().int().min(0).max(10).default(0),
  /** Requests of one address in 10 s: an office behind one address is many shoppers. */
  RATE_LIMIT_PER_10S: count.default(10_000),
  /** Writes by sellers and admins of one address in 10 s: an import is a flood that is welcome. */
  STAFF_RATE_LIMIT_PER_10S: count.default(20_000),
  /**
   * Log-ins and registrations of one address in a minute: each costs a password hash, and each may
   * be a guess.
   */
  AUTH_RATE_LIMIT_PER_MIN: count.default(600),
}
