import * as z from 'zod'
import { serviceEnv } from '#lib/config.ts'

const count = z.coerce.number().int().min(1)

/** The gateway's settings: those of every service, and those about its clients. */
export const gatewayEnv = {
  ...serviceEnv,
  /** Its API is for this machine, or, in a pod, for everyone who reaches the pod's address. */
  APP_HOST: z.string().default('127.0.0.1'),
  /** Origins that may call the API from a browser, separated by commas. Default: none. */
  CORS_ORIGINS: z
    .string()
    .default('')
    .transform((list) =>
      list
        .split(',')
        .map((origin) => origin.trim())
        .filter((origin) => origin !== ''),
    )
    .pipe(z.array(z.url({ protocol: /^https?$/, error: 'must be origins such as https://shop.example' }))),
  /** Number of proxies in front whose X-Forwarded-For is trusted. */
  TRUST_PROXY_HOPS: z.coerce.number().int().min(0).max(10).default(0),
  /** Requests per address in 10 s. An office behind one address is many shoppers. */
  RATE_LIMIT_PER_10S: count.default(10_000),
  /** Writes by sellers and admins per address in 10 s. An import is a welcome flood. */
  STAFF_RATE_LIMIT_PER_10S: count.default(20_000),
  /** Log-ins and registrations per address in a minute. Each costs a hash, and may be a guess. */
  AUTH_RATE_LIMIT_PER_MIN: count.default(600),
}
