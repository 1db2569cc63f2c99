import { randomInt } from 'node:crypto'
import Table from 'cli-table3'
import { runBacklog } from '../../pluggable/tests/chaos/backlog.ts'
import { faultsOf, runShopChaos, startChaosShop, type ChaosResult as ShopChaosResult } from '../../e2e/chaos/run.ts'
import { violationKinds } from '../../pluggable/tests/chaos/checker.ts'
import { countSteps, victims } from '../../pluggable/tests/chaos/plan.ts'
import { runChaos, type ChaosResult, type DatabaseName } from '../../pluggable/tests/chaos/run.ts'
import { mongodbUnderTest, mysqlUnderTest } from '../../pluggable/tests/stores.ts'
import { createProgress, duration } from '../../platform/progress.ts'
import { ensureParts } from '../../platform/parts/ensure.ts'
import { startServers, type Shop } from '../../platform/start/shop.ts'
import { createProgressBar } from '../terminal/progress-bar.ts'

const kafkaAwayMs = 120_000

/**
 * Kills the processes around the outbox stores at random and prints the outcome. Exit code 1 when
 * an event was lost, changed or out of order.
 * @param options.kills over all databases
 * @param options.seed decides what is killed when; random by default
 * @throws Error when a process does not recover
 */
export async function chaosOutbox(options: { kills: number; seed?: number; only?: DatabaseName }): Promise<void> {
  const databases = chosen(options.only)
  const kills = Math.ceil(options.kills / databases.length)
  const seed = options.seed ?? randomInt(1, 1_000_000)
  const only = options.only ? ` --only ${options.only}` : ''
  console.log(`seed ${seed}; to repeat: npm run chaos -- outbox --kills ${options.kills} --seed ${seed}${only}`)
  await withServers(databases, async (servers, daprd) => {
    const results: ChaosResult[] = []
    for (const database of databases) {
      const bar = createProgressBar(database, countSteps(seed, kills))
      const run = runChaos({ database, seed, kills, kafkaAwayMs, servers, daprd, onStep: () => bar.step() })
      results.push(await run.finally(() => bar.close()))
    }
    console.log(report(results))
    if (results.some(({ violations }) => violations.length > 0)) process.exitCode = 1
  })
}

/**
 * Fills the outbox while Kafka is down, drains it and prints the rates. Exit code 1 when a row is
 * lost or out of order.
 */
export async function chaosBacklog(options: { rows: number; only?: DatabaseName }): Promise<void> {
  await withServers(chosen(options.only), async ({ urls }) => {
    const stores = {
      mysql: mysqlUnderTest(urls.mysqlUrl, urls.kafkaBrokers),
      mongodb: mongodbUnderTest(urls.mongodbUri, urls.kafkaBrokers),
    }
    for (const database of chosen(options.only)) {
      const bar = createProgressBar(database, 100)
      let percent = 0
      const onProgress = (arrived: number) => {
        for (; percent < Math.floor((arrived * 100) / options.rows); percent += 1) bar.step()
      }
      const result = await runBacklog(stores[database], options.rows, { onProgress }).finally(() => bar.close())
      const { rows, drainMs, rowsPerSecond, idleBytes, peakBytes, arrived, outOfOrder } = result
      const megabytes = (bytes: number) => `${Math.round(bytes / 1_048_576)} MB`
      console.log(
        [
          `${database}: ${rows} rows drained in ${duration(drainMs)}, ${Math.round(rowsPerSecond)} per second`,
          `memory of the component ${megabytes(idleBytes)} before, ${megabytes(peakBytes)} at its peak`,
          `${arrived} arrived, ${outOfOrder} out of order`,
        ].join('; '),
      )
      if (arrived !== rows || outOfOrder > 0) process.exitCode = 1
    }
  })
}

/**
 * Kills and stops processes of a whole shop at random and prints the outcome. Exit code 1 when an
 * accepted order is not terminal or something disagrees.
 * @throws Error when a process does not recover
 */
export async function chaosShop(options: {
  minutes: number
  kills?: number
  seed?: number
  keep?: boolean
}): Promise<void> {
  const { kills, minutes, keep = false } = options
  const seed = options.seed ?? randomInt(1, 1_000_000)
  const until = kills === undefined ? `--minutes ${minutes}` : `--kills ${kills}`
  console.log(`seed ${seed}; to repeat: npm run chaos -- shop ${until} --seed ${seed}`)
  const progress = createProgress()
  let shop: Shop | undefined
  const interrupted = (signal: NodeJS.Signals) =>
    void shop?.stop().finally(() => process.exit(signal === 'SIGINT' ? 130 : 143))
  process.once('SIGINT', interrupted).once('SIGTERM', interrupted)
  try {
    shop = await startChaosShop('chaos-shop', progress)
    const running = shop
    const result = await progress.step({ title: 'Chaos', log: running.paths.logs }, (note) => {
      let steps = 0
      return runShopChaos(running, {
        seed,
        ...(kills === undefined ? { minutes } : { kills }),
        onStep: (text) => note(`${(steps += 1)}: ${text}`),
      })
    })
    console.log(reportShop(result))
    const faults = faultsOf(result)
    for (const fault of faults) console.log(fault)
    console.log(faults.length === 0 ? 'every accepted order is terminal, and all agrees' : `${faults.length} faults`)
    if (faults.length > 0) process.exitCode = 1
  } finally {
    progress.close()
    process.off('SIGINT', interrupted).off('SIGTERM', interrupted)
    if (!keep) await shop?.stop()
  }
}

function reportShop({ seconds, kills, freezes, load, orders, drainMs }: ShopChaosResult): string {
  const list = (counts: Record<string, number>) =>
    Object.entries(counts)
      .toSorted(([, a], [, b]) => b - a)
      .map(([name, count]) => `${count} ${name}`)
      .join(', ') || 'none'
  const sum = (counts: Record<string, number>) => Object.values(counts).reduce((total, count) => total + count, 0)
  const table = new Table({ style: { head: [], border: [], compact: true }, colWidths: [34, 80], wordWrap: true })
  table.push(
    ['time', duration(seconds * 1_000)],
    [`killed ${sum(kills)} times`, list(kills)],
    [`stopped ${sum(freezes)} times`, list(freezes)],
    ['orders accepted', String(load.accepted)],
    ['all orders', list(orders)],
    ['refused', list(load.refused)],
    ['without a final answer', String(load.unanswered)],
    ['requests repeated', String(load.retries)],
    ['cancellations', list(load.cancels)],
    ['refunds', list(load.refunds)],
    ['until all were terminal', duration(drainMs)],
  )
  return table.toString()
}

const chosen = (only: DatabaseName | undefined): DatabaseName[] => (only ? [only] : ['mysql', 'mongodb'])

/** Runs `work` with servers of its own and stops them however it ends. */
async function withServers(
  databases: DatabaseName[],
  work: (servers: Shop, daprd: string) => Promise<void>,
): Promise<void> {
  const progress = createProgress()
  let servers: Shop | undefined
  const interrupted = (signal: NodeJS.Signals) =>
    void servers?.stop().finally(() => process.exit(signal === 'SIGINT' ? 130 : 143))
  process.once('SIGINT', interrupted).once('SIGTERM', interrupted)
  try {
    const { daprd } = await ensureParts(['daprd'], progress)
    if (daprd.from === 'address') throw new Error('the sidecar must be a program, not an address')
    servers = await startServers([...databases, 'kafka'], {
      instance: 'chaos',
      portBase: 'free',
      fresh: true,
      progress,
    })
    progress.close()
    await work(servers, daprd.path)
  } finally {
    process.off('SIGINT', interrupted).off('SIGTERM', interrupted)
    await servers?.stop()
  }
}

function report(results: ChaosResult[]): string {
  const table = new Table({
    head: ['', ...results.map(({ database }) => database)],
    style: { head: [], border: [], compact: true },
  })
  const row = (name: string, of: (result: ChaosResult) => string) => table.push([name, ...results.map(of)])
  row('time', ({ seconds }) => duration(seconds * 1_000))
  for (const victim of victims) row(`kill -9 of ${victim}`, ({ kills }) => String(kills[victim]))
  row('transactions acknowledged', ({ transactions }) => String(transactions.acked))
  row('rejected', ({ transactions }) => String(transactions.refused))
  row(
    'outcome unknown, of these committed',
    ({ transactions }) => `${transactions.unknown}, ${transactions.unknownDone}`,
  )
  row('records on Kafka, of these repeats', ({ events, repeats }) => `${events}, ${repeats}`)
  row('longest time without a commit', ({ standstillMs }) => duration(standstillMs))
  row('time to drain the outbox', ({ drainMs }) => duration(drainMs))
  row('violations', ({ violations }) => String(violations.length))
  const reasons = results.flatMap(({ database, reasons }) =>
    [...reasons].toSorted(([, a], [, b]) => b - a).map(([reason, count]) => `  ${database}: ${count} × ${reason}`),
  )
  const faults = results.flatMap(({ database, folder, violations }) => [
    ...[...Map.groupBy(violations, ({ kind }) => kind)].map(
      ([kind, found]) =>
        `${database}: ${kind} (${violationKinds[kind]}), ${found.length} ×, such as ${found
          .slice(0, 3)
          .map(({ what }) => what)
          .join('; ')}`,
    ),
    ...(violations.length > 0 ? [`${database}: logs and histories in ${folder}`] : []),
  ])
  return [
    table.toString(),
    'reasons why transactions were not acknowledged',
    ...reasons,
    ...(faults.length > 0 ? faults : ['no event lost, none out of order']),
  ].join('\n')
}
