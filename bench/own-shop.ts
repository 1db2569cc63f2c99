import type { Progress } from '../platform/progress.ts'
import { startShop, type Shop } from '../platform/start/shop.ts'

/** Starts a shop that does not count the requests of its one client. `fresh`: empty. */
export async function startOwnShop(instance: string, progress: Progress, { fresh = true } = {}): Promise<Shop> {
  const lots = '1000000'
  Object.assign(process.env, {
    EDGE_RATE_LIMIT_PER_S: lots,
    RATE_LIMIT_PER_10S: lots,
    STAFF_RATE_LIMIT_PER_10S: lots,
    AUTH_RATE_LIMIT_PER_MIN: lots,
  })
  return startShop({ instance, portBase: 'free', fresh, progress })
}
