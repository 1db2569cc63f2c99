import { UsersServiceService } from '#protos/shop/users/v1/users.ts'
import type { Dapr } from '#lib/dapr.ts'

/**
 * How long a shopper who may order is believed to: a deactivation elsewhere acts within this time.
 */
const believedMs = 5_000
const maxBelieved = 10_000

export type UsersClient = ReturnType<typeof createUsersClient>

/** Creates the client of users, called through the sidecar. */
export function createUsersClient({ dapr }: { dapr: Dapr }) {
  const users = dapr.client(UsersServiceService, 'users')
  /** When each shopper's permission ends, in epoch milliseconds, oldest first. */
  const believed = new Map<string, number>()

  return {
    /**
     * Returns if this shopper may order. Throws `not_found` user_not_found, `rejected`
     * user_deactivated, `unavailable` users_unavailable.
     */
    async validate(userId: string): Promise<void> {
      if ((believed.get(userId) ?? 0) > Date.now()) return
      await users.validateUser({ userId })
      believed.delete(userId)
      believed.set(userId, Date.now() + believedMs)
      for (const [oldest, until] of believed) {
        if (until > Date.now() && believed.size <= maxBelieved) break
        believed.delete(oldest)
      }
    },

    /** Forgets what is believed about a shopper: the next order asks again. */
    forget: (userId: string): void => {
      believed.delete(userId)
    },
  }
}
