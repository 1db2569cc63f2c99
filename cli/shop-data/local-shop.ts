import type { Command } from 'commander'
import { currentInstance, recordedPorts } from '../../platform/supervise/instance.ts'
import { createPaths, type Paths } from '../../platform/processes/paths.ts'
import type { Ports } from '../../platform/processes/ports.ts'
import { loadSecrets, type Secrets } from '../../platform/processes/secrets.ts'
import { createApi, type Api } from './api-client.ts'

export type LocalShop = { paths: Paths; ports: Ports; secrets: Secrets }

/**
 * The shop of this clone that PORT_BASE means, whether it runs or not; undefined before its first
 * start.
 */
export function localShop(): LocalShop | undefined {
  const paths = createPaths(currentInstance().instance)
  const ports = recordedPorts(paths)
  return ports && { paths, ports, secrets: loadSecrets(paths.secrets) }
}

export type ApiOptions = { api?: string; email?: string }

export const withApiOptions = (command: Command): Command =>
  command
    .option('--api <url>', "the shop's address; default: SIDECART_API, else the shop of this clone")
    .option(
      '--email <email>',
      "a seller's or an admin's account; default: SIDECART_EMAIL, else the first admin of this clone's shop; its password is read from SIDECART_PASSWORD",
    )

/**
 * The API, logged in, of the shop that the options and the environment mean. Throws what to do when
 * that is not clear or the log-in fails.
 */
export async function openApi(o: ApiOptions): Promise<Api> {
  const shop = localShop()
  const url = o.api ?? process.env['SIDECART_API'] ?? (shop && `http://127.0.0.1:${shop.ports.api}`)
  if (url === undefined) throw new Error('There is no shop here yet: npm start makes one; --api names another.')
  const email = o.email ?? process.env['SIDECART_EMAIL'] ?? 'admin@example.com'
  const password =
    process.env['SIDECART_PASSWORD'] ?? (email === 'admin@example.com' ? shop?.secrets.adminPassword : undefined)
  if (password === undefined) throw new Error(`Set SIDECART_PASSWORD to the password of ${email}.`)
  const api = createApi({ url: url.replace(/\/+$/, ''), email, password })
  await api.logIn()
  return api
}
