// Accounts that the platform creates: the demo shopper and the first admin, whose passwords are in
// the shop's secrets file, and those of `npm run user`.
import { setTimeout as delay } from 'node:timers/promises'
import { createDapr } from '#lib/dapr.ts'
import { AppError } from '#lib/errors.ts'
import { UsersServiceService, type User } from '#protos/shop/users/v1/users.ts'
import type { Secrets } from './processes/secrets.ts'

export type Account = { email: string; password: string; name: string; role: 'shopper' | 'admin' }
/** A shop on this machine, or a cluster's whose users service is forwarded to a port of it. */
export type ReachableUsers = { ports: { services: { users: { app: number } } }; secrets: Secrets }
export type DemoLogin = { shopper: Account; admin: Account }

/** Creates both accounts unless they exist. @returns them, with their initial passwords */
export async function ensureDemoLogin(shop: ReachableUsers): Promise<DemoLogin> {
  const login: DemoLogin = {
    shopper: {
      email: 'shopper@example.com',
      password: shop.secrets.shopperPassword,
      name: 'Demo Shopper',
      role: 'shopper',
    },
    admin: { email: 'admin@example.com', password: shop.secrets.adminPassword, name: 'Demo Admin', role: 'admin' },
  }
  await Promise.all(Object.values(login).map((account) => ensureAccount(shop, account)))
  return login
}

/** Makes sure that an account exists and has this role; an existing one keeps its password. */
export async function ensureAccount(
  shop: ReachableUsers,
  account: { email: string; password: string; name: string; role: string },
): Promise<void> {
  await setRoles(shop, account)
}

const patienceMs = 30_000

/**
 * Sets an account's role, and creates the account if it does not exist. It calls the service's own
 * port with the token that only its sidecar has: no app may set roles through the sidecars
 * (dapr-config/users/access.yaml), so this takes someone who can read the shop's secrets. Waits up
 * to 30 s for the service.
 * @throws AppError what the service rejects, or `unavailable`
 */
export async function setRoles(
  shop: ReachableUsers,
  { email, role, password, name }: { email: string; role: string; password: string; name: string },
): Promise<User & { created: boolean }> {
  const { app } = shop.ports.services.users
  const dapr = createDapr({ grpcPort: app, httpPort: app, apiToken: shop.secrets.services.users.appToken })
  const users = dapr.client(UsersServiceService, 'users')
  const giveUpAt = Date.now() + patienceMs
  const setRole = async (initial: { password: string; name: string }): Promise<User> => {
    for (;;) {
      try {
        const { user } = await users.setUserRoles({ email, roles: [role], ...initial }, { timeoutMs: 5_000 })
        return user!
      } catch (error) {
        if (!(error instanceof AppError) || error.kind !== 'unavailable' || Date.now() > giveUpAt) throw error
        await delay(250)
      }
    }
  }
  try {
    return { ...(await setRole({ password: '', name: '' })), created: false }
  } catch (error) {
    if (!(error instanceof AppError) || error.kind !== 'not_found') throw error
    return { ...(await setRole({ password, name })), created: true }
  } finally {
    dapr.close()
  }
}
