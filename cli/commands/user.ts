import { randomBytes } from 'node:crypto'
import { Option, type Command } from 'commander'
import { setRoles } from '../../platform/accounts.ts'
import { localShop } from '../shop-data/local-shop.ts'

type Options = { email: string; role: 'admin' | 'seller' | 'shopper'; name?: string }

/**
 * Adds `user --email E --role R`. It needs no account: whoever can run it is on the shop's own
 * host.
 */
export function register(program: Command): void {
  program
    .command('user')
    .description('create an account, or change the role of one')
    .requiredOption('--email <email>', "the account's email")
    .addOption(new Option('--role <role>', 'its role').choices(['admin', 'seller', 'shopper']).makeOptionMandatory())
    .option('--name <name>', 'name of a new account; default: the part of the email before the @')
    .addHelpText('after', '\nThe password of a new account is SIDECART_PASSWORD, else a random one that is printed.')
    .action(user)
}

async function user({ email, role, name }: Options): Promise<void> {
  const shop = localShop()
  if (!shop) throw new Error('This clone has no shop yet: start one with npm start.')
  const given = process.env['SIDECART_PASSWORD']
  const password = given ?? randomBytes(18).toString('base64url')
  const { created, id } = await setRoles(shop, { email, role, password, name: name ?? nameOf(email) })
  console.log(
    created
      ? `Created the account ${email} (${role}), id ${id}.`
      : `The account ${email}, id ${id}, is now ${role}; its password is unchanged. It acts within a minute.`,
  )
  if (created && given === undefined) console.log(`Password: ${password}`)
}

const nameOf = (email: string) => email.split('@')[0] || email
