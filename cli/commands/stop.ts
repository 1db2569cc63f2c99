import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { currentInstance } from '../../platform/supervise/instance.ts'
import { findLeftovers } from '../../platform/supervise/leftovers.ts'
import { createPaths, root } from '../../platform/processes/paths.ts'
import { isRunning } from '../../platform/start/readiness.ts'
import { stopShop } from '../../platform/start/stop.ts'

/** Stops the shop of PORT_BASE, or all of this clone. @throws Error when a process does not end */
export async function stop({ all = false }: { all?: boolean }): Promise<void> {
  const instances = all ? recordedInstances() : [currentInstance().instance]
  let stopped = 0
  for (const instance of instances) {
    const paths = createPaths(instance)
    if (!(await isRunning(paths)) && findLeftovers(paths).length === 0) continue
    await stopShop(paths)
    stopped += 1
    console.log(`${instance === 'default' ? 'The shop' : `"${instance}"`} is stopped. Its data are kept.`)
  }
  if (stopped === 0) console.log('Nothing is running.')
}

function recordedInstances(): string[] {
  const folder = join(root, '.sidecart')
  if (!existsSync(folder)) return []
  return readdirSync(folder).filter((name) => existsSync(join(folder, name, 'instance.json')))
}
