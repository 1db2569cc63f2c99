import { randomBytes } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { Option, type Command } from 'commander'
import { createDapr } from '#lib/dapr.ts'
import { AppError } from '#lib/errors.ts'
import { UsersServiceService, type User } from '#protos/shop/users/v1/users.ts'
import { localShop, type LocalShop } from '../cli/local-shop.ts'

type Options = { email: string; role: 'admin' | 'seller' | 'shopper'; name?: string }

/** Adds `user --email E --role R`, which needs no account: whoever runs it is on the shop's own host. */
export function register(program: Command): void {
  program.command('user')
    .description('make an account, or change what an account may do')
    .requiredOption('--email <email>', 'whose account')
    .addOption(new Option('--role <role>', 'what it may do').choices(['admin', 'seller', 'shopper']).makeOptionMandatory())
    .option('--name <name>', "a new account's name; default: what stands before the @. Its password is read from SIDECART_PASSWORD, else made up and shown")
    .action(user)
}

async function user({ email, role, name }: Options): Promise<void> {
  const shop = localShop()
  if (!shop) throw new Error('There is no shop here yet: npm start makes one.')
  const given = process.env['SIDECART_PASSWORD']
  const password = given ?? randomBytes(18).toString('base64url')
  const { created, id } = await setRoles(shop, { email, role, password, name: name ?? nameOf(email) })
  console.log(created ? `Made the account ${email} (${role}), id ${id}.` : `The account ${email} is now ${role}, id ${id}. Its password is as it was; a session learns of it within 15 minutes.`)
  if (created && given === undefined) console.log(`Its password: ${password}`)
}

const nameOf = (email: string) => email.split('@')[0] || email

/** Makes sure that an account is there and has this role; the password of one that is there stays. */
export async function ensureAccount(shop: Pick<LocalShop, 'ports' | 'secrets'>, account: { email: string; password: string; name: string; role: string }): Promise<void> {
  await setRoles(shop, account)
}

const patienceMs = 30_000

/**
 * By users' own port with the token that only its sidecar has: no app may set roles by way of the sidecars (dapr-config/users/access.yaml), so it takes somebody who can read the shop's secrets. Waits for up to
 * half a minute until it answers.
 */
async function setRoles(shop: Pick<LocalShop, 'ports' | 'secrets'>, o: { email: string; role: string; password: string; name: string }): Promise<User & { created: boolean }> {
  const { app } = shop.ports.services.users
  const dapr = createDapr({ grpcPort: app, httpPort: app, apiToken: shop.secrets.services.users.appToken })
  const users = dapr.client(UsersServiceService, 'users')
  const giveUpAt = Date.now() + patienceMs
  const ask = async (password: string): Promise<User> => {
    for (;;) {
      try {
        const { user } = await users.setRoles({ email: o.email, roles: [o.role], password, name: password === '' ? '' : o.name }, { timeoutMs: 5_000 })
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
