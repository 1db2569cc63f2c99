import { spawn } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { ensureDemoLogin } from '../../platform/accounts.ts'
import { ensureParts } from '../../platform/parts/ensure.ts'
import { root } from '../../platform/processes/paths.ts'
import { createProgress } from '../../platform/progress.ts'
import { prepareForTilt } from '../../platform/start/tilt.ts'
import { currentInstance } from '../../platform/supervise/instance.ts'
import { localShop } from '../shop-data/local-shop.ts'

/** Runs Tilt with these arguments, and ends with its exit code. */
export async function tilt(args: string[]): Promise<void> {
  const progress = createProgress()
  const { tilt: found } = await ensureParts(['tilt'], progress)
  progress.close()
  if (found.from === 'address') throw new Error('Tilt is a program, not a server')
  // One that was built here has no web page: it fetches the page of its release, as others do.
  const webMode = ['up', 'ci'].includes(args[0] ?? '') && found.from === 'cache' ? ['--web-mode', 'prod'] : []
  const child = spawn(found.path, [...args.slice(0, 1), ...webMode, ...args.slice(1)], { cwd: root, stdio: 'inherit' })
  // The terminal sends Ctrl-C to Tilt too; this process reports its exit code.
  process.on('SIGINT', () => {})
  for (const signal of ['SIGTERM', 'SIGHUP'] as const) process.on(signal, () => child.kill(signal))
  process.exitCode = await new Promise<number>((resolve, reject) => {
    child.once('error', reject)
    child.once('exit', (code) => resolve(code ?? 1))
  })
}

type PlanOptions = { pid: number; program: string; output: string }

/** Prepares the shop of PORT_BASE for a Tilt and writes its processes for the Tiltfile. */
export async function writePlan({ pid, program, output }: PlanOptions): Promise<void> {
  const port = process.env['TILT_PORT'] ?? '10350'
  const plan = await prepareForTilt(currentInstance(), { pid, program, port })
  mkdirSync(dirname(output), { recursive: true })
  writeFileSync(output, JSON.stringify(plan))
}

/** Creates the demo logins. Their passwords are not printed: Tilt shows its logs to everybody. */
export async function createLogins(): Promise<void> {
  const shop = localShop()
  if (shop === undefined) throw new Error('Tilt has not started this shop')
  const { admin, shopper } = await ensureDemoLogin(shop)
  console.log(`Demo logins: ${admin.email} and ${shopper.email}; their passwords are in ${shop.paths.secrets}`)
}
