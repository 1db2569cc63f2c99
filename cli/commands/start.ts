import { setTimeout as sleep } from 'node:timers/promises'
import Table from 'cli-table3'
import { ensureDemoLogin, type DemoLogin } from '../../platform/accounts.ts'
import { currentInstance } from '../../platform/supervise/instance.ts'
import { recordPids } from '../../platform/supervise/leftovers.ts'
import { createPaths } from '../../platform/processes/paths.ts'
import { createProgress, duration } from '../../platform/progress.ts'
import { startShop, stopShop, type Shop } from '../../platform/start/shop.ts'
import { processStates } from '../../platform/supervise/process-compose.ts'

/** Starts the shop, and in the foreground stays with it until Ctrl-C, then stops it. */
export async function start({ detach = false }: { detach?: boolean }): Promise<void> {
  const { instance, portBase } = currentInstance()
  const paths = createPaths(instance)
  const began = Date.now()
  const progress = createProgress()

  let stopping = false
  const stopNow = async (code: number) => {
    if (stopping) return
    stopping = true
    const stoppingBegan = Date.now()
    console.error('\nStopping …')
    await stopShop(paths).catch((error: Error) => {
      console.error(error.message)
      process.exitCode = 1
    })
    console.error(`Stopped in ${duration(Date.now() - stoppingBegan)}; the data are kept.`)
    process.exit(process.exitCode ?? code)
  }
  // Interrupted while it starts: nothing may be left of it either.
  process.on('SIGINT', () => void stopNow(130))
  process.on('SIGTERM', () => void stopNow(0))
  process.on('SIGHUP', () => void stopNow(0))

  const shop = await startShop({ instance, portBase, progress, detach }).catch((error: unknown) => {
    // A stop in the middle of a start makes the start fail; that is no news.
    if (stopping) return new Promise<never>(() => {})
    throw error
  })
  const login = await ensureDemoLogin(shop)
  progress.close()
  printAddresses(shop, login)
  if (shop.reused) {
    console.log('It ran already. `npm stop` stops it.')
    return
  }
  console.log(`Up in ${duration(Date.now() - began)}. ${detach ? '`npm stop` stops it.' : 'Ctrl-C stops it.'}`)
  if (detach) return
  await watch(shop, () => stopping)
}

function printAddresses({ ports }: Shop, login: DemoLogin): void {
  const api = `http://127.0.0.1:${ports.api}`
  const table = new Table({ style: { head: [], border: [] } })
  table.push(
    ['API', `${api}/v1`],
    ['API docs', `${api}/docs`],
    ['Jaeger', `http://127.0.0.1:${ports.jaegerQuery}`],
    [
      'Metrics',
      `http://127.0.0.1:${ports.services.gateway.admin}/metrics and those of each process in \`npm run status\``,
    ],
  )
  table.push(
    ['Demo shopper', `${login.shopper.email}  ${login.shopper.password}`],
    ['Demo admin', `${login.admin.email}  ${login.admin.password}`],
  )
  console.log(table.toString())
}

/** Tells of crashes, and ends when somebody else stops the shop. */
async function watch({ paths }: Shop, stopping: () => boolean): Promise<void> {
  const restarts = new Map<string, number>()
  for (let misses = 0; misses < 3;) {
    await sleep(1_000)
    if (stopping()) return
    const states = await processStates(paths).catch(() => undefined)
    if (states === undefined) {
      misses += 1
      continue
    }
    misses = 0
    recordPids(
      paths.pids,
      states.filter(({ is_running, pid }) => is_running && pid > 0),
    )
    for (const { name, restarts: count } of states) {
      if (count > (restarts.get(name) ?? 0))
        console.error(`${name} ended and was started again (${count} times so far): npm run logs -- ${name}`)
      restarts.set(name, count)
    }
  }
  if (!stopping()) console.error('The shop was stopped.')
}
