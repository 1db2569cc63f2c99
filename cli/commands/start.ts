import { setTimeout as sleep } from 'node:timers/promises'
import Table from 'cli-table3'
import { ensureDemoLogin, type DemoLogin } from '../../platform/accounts.ts'
import { findPart } from '../../platform/parts/find.ts'
import { parts } from '../../platform/parts/parts.ts'
import { createPaths } from '../../platform/processes/paths.ts'
import { createProgress, duration } from '../../platform/progress.ts'
import { startShop, type Shop } from '../../platform/start/shop.ts'
import { stopShop } from '../../platform/start/stop.ts'
import { currentInstance } from '../../platform/supervise/instance.ts'
import { statuses, type Status } from '../../platform/supervise/status.ts'

/** Starts the shop. In the foreground it stays until Ctrl-C, then stops the shop. */
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
    console.error(`Stopped in ${duration(Date.now() - stoppingBegan)}. The data are kept.`)
    process.exit(process.exitCode ?? code)
  }
  // An interrupted start leaves nothing behind either.
  process.on('SIGINT', () => void stopNow(130))
  process.on('SIGTERM', () => void stopNow(0))
  process.on('SIGHUP', () => void stopNow(0))

  const shop = await startShop({ instance, portBase, progress, detach, jaegerMayJoinLater: true }).catch(
    (error: unknown) => {
      // A stop during the start makes it fail; that needs no message.
      if (stopping) return new Promise<never>(() => {})
      throw error
    },
  )
  const login = await ensureDemoLogin(shop)
  progress.close()
  const jaeger = (await statuses(shop.paths)).find(({ name }) => name === 'jaeger')
  printAddresses(shop, login, jaeger)
  if (shop.reused) {
    console.log('It was already running. `npm stop` stops it.')
    return
  }
  console.log(`Up in ${duration(Date.now() - began)}. ${detach ? '`npm stop` stops it.' : 'Ctrl-C stops it.'}`)
  if (detach) return
  await watch(shop, () => stopping)
}

function printAddresses({ ports }: Shop, login: DemoLogin, jaeger: Status | undefined): void {
  const api = `http://127.0.0.1:${ports.api}`
  const table = new Table({ style: { head: [], border: [] } })
  table.push(
    ['API', `${api}/v1`],
    ['API docs', `${api}/docs`],
    ['Edge', describeEdge(ports)],
    ['Mailbox', `http://127.0.0.1:${ports.mailbox}`],
    ['Jaeger', describeJaeger(jaegerAddress(ports), jaeger)],
    [
      'Metrics',
      `http://127.0.0.1:${ports.services.gateway.admin}/metrics and those of each process in \`npm run status\``,
    ],
    ['Demo shopper', `${login.shopper.email}  ${login.shopper.password}`],
    ['Demo admin', `${login.admin.email}  ${login.admin.password}`],
  )
  console.log(table.toString())
}

function describeEdge({ api, services }: Shop['ports']): string {
  const { without, howToGet } = parts.nginx
  if (api === services.gateway.app) return `no nginx: ${without}. To get it: ${howToGet}`
  return `nginx, in front of the gateway (http://127.0.0.1:${services.gateway.app})`
}

const jaegerAddress = (ports: Shop['ports']) => `http://127.0.0.1:${ports.jaegerQuery}`

function describeJaeger(address: string, jaeger: Status | undefined): string {
  const found = findPart('jaeger')
  if (found.from === 'address') return `traces go to ${found.address}`
  // Go modules hold no web pages.
  const noPages = 'query API only, without pages: npm run trace -- ORDER_OR_TRACE_ID draws a trace'
  switch (jaeger?.state) {
    case 'building':
      return `${address} (still being built, log ${jaeger.log};\n${noPages})`
    case 'not built':
      return `not built, see ${jaeger.log}`
    default:
      return found.from === 'cache' ? `${address} (${noPages})` : address
  }
}

/** Reports crashes and Jaeger's arrival; returns when someone else stops the shop. */
async function watch({ paths, ports }: Shop, stopping: () => boolean): Promise<void> {
  let known: Status[] = []
  for (let misses = 0; misses < 3;) {
    await sleep(1_000)
    if (stopping()) return
    const current = await statuses(paths).catch(() => undefined)
    if (current === undefined) {
      misses += 1
      continue
    }
    misses = 0
    for (const status of current) {
      const before = known.find(({ name }) => name === status.name)
      const news = describeChange(before, status, jaegerAddress(ports))
      if (news) console.error(news)
    }
    known = current
  }
  if (!stopping()) console.error('The shop was stopped.')
}

function describeChange(before: Status | undefined, now: Status, jaeger: string): string | undefined {
  if (now.restarts > (before?.restarts ?? 0))
    return `${now.name} ended and was restarted (${now.restarts} times so far): npm run logs -- ${now.name}`
  if (before === undefined || before.state === now.state || now.name !== 'jaeger') return undefined
  if (now.state === 'not built') return `Jaeger could not be built, see ${now.log}`
  return before.state === 'building' ? `Jaeger is built: ${jaeger}` : undefined
}
