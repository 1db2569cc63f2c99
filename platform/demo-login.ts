// The demo shopper and the first admin. Their passwords are made once and are in the shop's secrets file.
import { ensureAccount } from './accounts.ts'
import type { Shop } from './start/shop.ts'

export type Account = { email: string; password: string; name: string; role: 'shopper' | 'admin' }
export type DemoLogin = { shopper: Account; admin: Account }

/** Makes sure that both accounts are there. @returns them, with the passwords that they were made with */
export async function ensureDemoLogin(shop: Shop): Promise<DemoLogin> {
  const login: DemoLogin = {
    shopper: { email: 'shopper@example.com', password: shop.secrets.shopperPassword, name: 'Demo Shopper', role: 'shopper' },
    admin: { email: 'admin@example.com', password: shop.secrets.adminPassword, name: 'Demo Admin', role: 'admin' },
  }
  await Promise.all(Object.values(login).map((account) => ensureAccount(shop, account)))
  return login
}
