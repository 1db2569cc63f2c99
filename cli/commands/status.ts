import Table from 'cli-table3'
import { currentInstance } from '../../platform/supervise/instance.ts'
import { createPaths } from '../../platform/processes/paths.ts'
import { isRunning } from '../../platform/start/shop.ts'
import { statuses } from '../../platform/supervise/status.ts'

/**
 * Prints each process. Its exit code is 1 when the shop does not run or something is not healthy.
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
  for (const one of list) {
    table.push([
      one.name,
      one.kind,
      one.state,
      one.restarts,
      megabytes(one.rssBytes),
      one.pid || '',
      one.ports.join(' '),
    ])
  }
  const total = list.reduce((sum, one) => sum + one.rssBytes, 0)
  console.log(`${table.toString()}\n${list.length} processes, ${megabytes(total)}`)
  if (list.some(({ state }) => state !== 'healthy')) process.exitCode = 1
}

const megabytes = (bytes: number) => `${Math.round(bytes / 1_048_576)} MB`
