import { randomBytes } from 'node:crypto'
import { Option, type Command } from 'commander'
import { setRoles } from '../../platform/accounts.ts'
import { localShop } from '../shop-data/local-shop.ts'

type Options = { email: string; role: 'admin' | 'seller' | 'shopper'; name?: string }

/**
 * Adds `user --email E --role R`, which needs no account: whoever runs it is on the shop's own
 * host.
 */
export function register(program: Command): void {
  program
    .command('user')
    .description('make an account, or change what an account may do')
    .requiredOption('--email <email>', 'whose account')
    .addOption(
      new Option('--role <role>', 'what it may do').choices(['admin', 'seller', 'shopper']).makeOptionMandatory(),
    )
    .option(
      '--name <name>',
      "a new account's name; default: what stands before the @. Its password is read from SIDECART_PASSWORD, else made up and shown",
    )
    .action(user)
}

async function user({ email, role, name }: Options): Promise<void> {
  const shop = localShop()
  if (!shop) throw new Error('There is no shop here yet: npm start makes one.')
  const given = process.env['SIDECART_PASSWORD']
  const password = given ?? randomBytes(18).toString('base64url')
  const { created, id } = await setRoles(shop, { email, role, password, name: name ?? nameOf(email) })
  console.log(
    created
      ? `Made the account ${email} (${role}), id ${id}.`
      : `The account ${email} is now ${role}, id ${id}. Its password is as it was; a session learns of it within 15 minutes.`,
  )
  if (created && given === undefined) console.log(`Its password: ${password}`)
}

const nameOf = (email: string) => email.split('@')[0] || email
