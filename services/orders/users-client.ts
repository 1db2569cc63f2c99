import { UsersServiceService } from '#protos/shop/users/v1/users.ts'
import type { Dapr } from '#lib/dapr.ts'

export type UsersClient = ReturnType<typeof createUsersClient>

export function createUsersClient(dapr: Dapr) {
  const users = dapr.client(UsersServiceService, 'users')
  return {
    /**
     * Returns if this shopper may order. Throws AppError `user_not_found`, `user_deactivated` or
     * `users_unavailable`.
     */
    async validate(userId: string): Promise<void> {
      await users.validateUser({ userId })
    },
  }
}
