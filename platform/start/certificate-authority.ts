import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { startChild } from '../child.ts'
import type { Context } from '../processes/context.ts'
import { sentryCommand } from '../processes/servers.ts'

type Needed = Pick<Context, 'servers' | 'paths' | 'ports'>

/**
 * Returns the certificate (PEM) of the sidecars' authority, which sentry creates. On its first
 * start sentry writes its credentials, sees the files change and restarts a few seconds later; a
 * sidecar that asks at that moment exits. So a first sentry runs for this alone and is stopped when
 * the files exist.
 * @throws Error when sentry does not create them within 20 s
 */
export async function trustAnchors(context: Needed): Promise<string> {
  const certificate = join(context.paths.sentry, 'ca.crt')
  if (!existsSync(certificate)) await createAuthority(context)
  return readFileSync(certificate, 'utf8')
}

async function createAuthority({ servers, paths, ports }: Needed): Promise<void> {
  if (servers.sentry === undefined || servers.sentry.from === 'address')
    throw new Error('no sentry to create certificates')
  const temporary = `${paths.sentry}.new`
  rmSync(temporary, { recursive: true, force: true })
  mkdirSync(temporary, { recursive: true, mode: 0o700 })
  const [program = '', ...args] = sentryCommand(servers.sentry.path, { ...paths, sentry: temporary }, ports)
  const child = startChild(program, args)
  const isDone = async () => readdirSync(temporary).includes('issuer.key') && (await isHealthy(ports.sentryHealth))
  await child.ready('sentry creates its certificates', isDone, 20_000)
  await child.kill()
  renameSync(temporary, paths.sentry)
}

async function isHealthy(port: number): Promise<boolean> {
  const response = await fetch(`http://127.0.0.1:${port}/healthz`, { signal: AbortSignal.timeout(1_000) }).catch(
    () => undefined,
  )
  return response?.status === 200
}
