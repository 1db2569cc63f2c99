import type { Command } from 'commander'
import { currentInstance, recordedPorts } from '../../platform/supervise/instance.ts'
import { createPaths, type Paths } from '../../platform/processes/paths.ts'
import type { Ports } from '../../platform/processes/ports.ts'
import { loadSecrets, type Secrets } from '../../platform/processes/secrets.ts'
import { createApi, type Api } from './api-client.ts'

export type LocalShop = { paths: Paths; ports: Ports; secrets: Secrets }

/** Returns this clone's shop of PORT_BASE, running or not, or undefined before its first start. */
export function localShop(): LocalShop | undefined {
  const paths = createPaths(currentInstance().instance)
  const ports = recordedPorts(paths)
  return ports && { paths, ports, secrets: loadSecrets(paths.secrets) }
}

export type ApiOptions = { api?: string; email?: string }

export const withApiOptions = (command: Command): Command =>
  command
    .option('--api <url>', "the shop's address; default: SIDECART_API, else this clone's shop")
    .option('--email <email>', "a seller's or admin's account; default: SIDECART_EMAIL, else this clone's admin")
    .addHelpText('after', "\nThe account's password is SIDECART_PASSWORD; that of this clone's admin is known.")

/**
 * Logs in to the API of the shop that the options and the environment select. Throws Error that
 * says what to do when none is selected or the login fails.
 */
export async function openApi(options: ApiOptions): Promise<Api> {
  const shop = localShop()
  const url = options.api ?? process.env['SIDECART_API'] ?? (shop && `http://127.0.0.1:${shop.ports.api}`)
  if (url === undefined) throw new Error('This clone has no shop yet: start one with npm start, or give --api.')
  const email = options.email ?? process.env['SIDECART_EMAIL'] ?? 'admin@example.com'
  const password =
    process.env['SIDECART_PASSWORD'] ?? (email === 'admin@example.com' ? shop?.secrets.adminPassword : undefined)
  if (password === undefined) throw new Error(`Set SIDECART_PASSWORD to the password of ${email}.`)
  const api = createApi({ url: url.replace(/\/+$/, ''), email, password })
  await api.logIn()
  return api
}
