import { UsersServiceService } from '#protos/shop/users/v1/users.ts'
import type { Dapr } from '#lib/dapr.ts'

export type UsersClient = ReturnType<typeof createUsersClient>

/** Creates the client of users, called through the sidecar. */
export function createUsersClient({ dapr }: { dapr: Dapr }) {
  const users = dapr.client(UsersServiceService, 'users')
  return {
    /**
     * Returns if this shopper may order. Throws `not_found` user_not_found, `rejected`
     * user_deactivated, `unavailable` users_unavailable.
     */
    async validate(userId: string): Promise<void> {
      await users.validateUser({ userId })
    },
  }
}
