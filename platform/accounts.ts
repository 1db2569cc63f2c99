// Accounts that the platform itself makes: the demo shopper and the first admin, whose passwords
// are made once and are in the shop's secrets file, and those of `npm run user`.
import { setTimeout as delay } from 'node:timers/promises'
import { createDapr } from '#lib/dapr.ts'
import { AppError } from '#lib/errors.ts'
import { UsersServiceService, type User } from '#protos/shop/users/v1/users.ts'
import type { Shop } from './start/shop.ts'

export type Account = { email: string; password: string; name: string; role: 'shopper' | 'admin' }
export type DemoLogin = { shopper: Account; admin: Account }

/**
 * Makes sure that both accounts are there. @returns them, with the passwords that they were made
 * with
 */
export async function ensureDemoLogin(shop: Shop): Promise<DemoLogin> {
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

/**
 * Makes sure that an account is there and has this role; the password of one that is there stays.
 */
export async function ensureAccount(
  shop: Pick<Shop, 'ports' | 'secrets'>,
  account: { email: string; password: string; name: string; role: string },
): Promise<void> {
  await setRoles(shop, account)
}

const patienceMs = 30_000

/**
 * By users' own port with the token that only its sidecar has: no app may set roles by way of the
 * sidecars (dapr-config/users/access.yaml), so it takes somebody who can read the shop's secrets.
 * Waits for up to half a minute until it answers.
 */
export async function setRoles(
  shop: Pick<Shop, 'ports' | 'secrets'>,
  o: { email: string; role: string; password: string; name: string },
): Promise<User & { created: boolean }> {
  const { app } = shop.ports.services.users
  const dapr = createDapr({ grpcPort: app, httpPort: app, apiToken: shop.secrets.services.users.appToken })
  const users = dapr.client(UsersServiceService, 'users')
  const giveUpAt = Date.now() + patienceMs
  const ask = async (password: string): Promise<User> => {
    for (;;) {
      try {
        const { user } = await users.setUserRoles(
          { email: o.email, roles: [o.role], password, name: password === '' ? '' : o.name },
          { timeoutMs: 5_000 },
        )
        return user!
      } catch (error) {
        if (!(error instanceof AppError) || error.kind !== 'unavailable' || Date.now() > giveUpAt) throw error
        await delay(250)
      }
    }
  }
  try {
    return { ...(await ask('')), created: false }
  } catch (error) {
    if (!(error instanceof AppError) || error.kind !== 'not_found') throw error
    return { ...(await ask(o.password)), created: true }
  } finally {
    dapr.close()
  }
}
