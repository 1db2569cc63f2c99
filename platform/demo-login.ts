// The demo shopper and the first admin. Their passwords are made once and are in the shop's secrets file.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { Shop } from './shop.ts'

export type Account = { email: string; password: string; name: string; role: 'shopper' | 'admin' }
export type DemoLogin = { shopper: Account; admin: Account }

/**
 * Makes sure that both accounts are there.
 * @returns them, or undefined while the shop has no users service or no way to make accounts (platform/user.ts with
 * `ensureAccount(shop, account)`)
 */
export async function ensureDemoLogin(shop: Shop): Promise<DemoLogin | undefined> {
  const file = join(import.meta.dirname, 'user.ts')
  if (!existsSync(file) || !existsSync(join(shop.paths.root, 'services', 'users', 'main.ts'))) return undefined
  const { ensureAccount } = (await import(file)) as { ensureAccount?: (shop: Shop, account: Account) => Promise<void> }
  if (ensureAccount === undefined) return undefined
  const login: DemoLogin = {
    shopper: { email: 'shopper@example.com', password: shop.secrets.shopperPassword, name: 'Demo Shopper', role: 'shopper' },
    admin: { email: 'admin@example.com', password: shop.secrets.adminPassword, name: 'Demo Admin', role: 'admin' },
  }
  await Promise.all(Object.values(login).map((account) => ensureAccount(shop, account)))
  return login
}
