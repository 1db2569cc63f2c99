import Table from 'cli-table3'
import { createPaths } from '../../platform/processes/paths.ts'
import { isRunning } from '../../platform/start/readiness.ts'
import { currentInstance } from '../../platform/supervise/instance.ts'
import { statuses } from '../../platform/supervise/status.ts'

/**
 * Prints each process. The exit code is 1 when the shop does not run or a process is not healthy; a
 * Jaeger that is still being built does not count.
 */
export async function status({ json = false }: { json?: boolean }): Promise<void> {
  const paths = createPaths(currentInstance().instance)
  const list = (await isRunning(paths)) ? await statuses(paths) : []
  if (json) {
    console.log(JSON.stringify(list, undefined, 2))
    return
  }
  if (list.length === 0) {
    console.log('The shop does not run. `npm start` starts it.')
    process.exitCode = 1
    return
  }
  const table = new Table({
    head: ['name', 'kind', 'state', 'restarts', 'memory', 'pid', 'ports'],
    style: { head: [], border: [], compact: true },
  })
  for (const { name, kind, state, restarts, rssBytes, pid, ports } of list) {
    table.push([name, kind, state, restarts, megabytes(rssBytes), pid || '', ports.join(' ')])
  }
  const total = list.reduce((sum, { rssBytes }) => sum + rssBytes, 0)
  console.log(`${table.toString()}\n${list.length} processes, ${megabytes(total)}`)
  for (const { name, state, log } of list) {
    if (state === 'building') console.log(`${name} joins when it is built; the log of its build: ${log}`)
    if (state === 'not built') console.log(`${name} could not be built, see ${log}; the next start tries again`)
  }
  if (list.some(({ state }) => state !== 'healthy' && state !== 'building')) process.exitCode = 1
}

const megabytes = (bytes: number) => `${Math.round(bytes / 1_048_576)} MB`
