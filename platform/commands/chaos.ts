import { randomInt } from 'node:crypto'
import Table from 'cli-table3'
import { countSteps, victims } from '../../components/chaos/plan.ts'
import { violationKinds } from '../../components/chaos/checker.ts'
import { runChaos, type ChaosResult, type DatabaseName } from '../../components/chaos/run.ts'
import { createProgress, duration } from '../progress.ts'
import { ensureParts } from '../servers/ensure.ts'
import { startServers } from '../shop.ts'
import { createProgressBar } from '../tools/progress-bar.ts'

const kafkaAwayMs = 120_000

/**
 * Kills everything around the outbox stores again and again, and prints what came of it. Exit code 1 when anything was lost,
 * changed or out of order, or did not come back.
 * @param o.kills over all databases
 * @param o.seed what is killed when; a number by chance unless given
 */
export async function chaosOutbox(o: { kills: number; seed?: number; only?: DatabaseName }): Promise<void> {
  const databases: DatabaseName[] = o.only ? [o.only] : ['mysql', 'mongodb']
  const kills = Math.ceil(o.kills / databases.length)
  const seed = o.seed ?? randomInt(1, 1_000_000)
  console.log(`seed ${seed}: the same kills again by npm run chaos -- outbox --kills ${o.kills} --seed ${seed}`)
  const progress = createProgress()
  const closers: (() => Promise<void>)[] = []
  const close = async () => {
    for (const closer of closers.splice(0).toReversed()) await closer()
  }
  const interrupted = (signal: NodeJS.Signals) => void close().finally(() => process.exit(signal === 'SIGINT' ? 130 : 143))
  process.once('SIGINT', interrupted).once('SIGTERM', interrupted)
  try {
    const { daprd } = await ensureParts(['daprd'], progress)
    if (daprd.from === 'address') throw new Error('the sidecar has to be a program')
    const servers = await startServers([...databases, 'kafka'], { instance: 'chaos', portBase: 'free', fresh: true, progress })
    progress.close()
    closers.push(servers.stop)
    const results: ChaosResult[] = []
    for (const database of databases) {
      const bar = createProgressBar(database, countSteps(seed, kills))
      try {
        results.push(await runChaos({ database, seed, kills, kafkaAwayMs, servers, daprd: daprd.path, onStep: () => bar.step() }))
      } finally {
        bar.close()
      }
    }
    console.log(report(results))
    const violations = results.flatMap((result) => result.violations)
    if (violations.length > 0) process.exitCode = 1
  } finally {
    process.off('SIGINT', interrupted).off('SIGTERM', interrupted)
    await close()
  }
}

function report(results: ChaosResult[]): string {
  const table = new Table({ head: ['', ...results.map(({ database }) => database)], style: { head: [], border: [], compact: true } })
  const row = (name: string, of: (result: ChaosResult) => string) => table.push([name, ...results.map(of)])
  row('time', ({ seconds }) => duration(seconds * 1_000))
  for (const victim of victims) row(`kill -9 of ${victim}`, ({ kills }) => String(kills[victim]))
  row('transactions acknowledged', ({ transactions }) => String(transactions.acked))
  row('refused', ({ transactions }) => String(transactions.refused))
  row('unknown, of which done', ({ transactions }) => `${transactions.unknown}, ${transactions.unknownDone}`)
  row('records on Kafka, of which repeats', ({ events, repeats }) => `${events}, ${repeats}`)
  row('longest time without a commit', ({ standstillMs }) => duration(standstillMs))
  row('until the outbox was empty', ({ drainMs }) => duration(drainMs))
  row('violations', ({ violations }) => String(violations.length))
  const reasons = results.flatMap(({ database, reasons }) =>
    [...reasons].toSorted(([, a], [, b]) => b - a).map(([reason, count]) => `  ${database}: ${count} × ${reason}`),
  )
  const faults = results.flatMap(({ database, folder, violations }) => [
    ...[...Map.groupBy(violations, ({ kind }) => kind)].map(
      ([kind, found]) => `${database}: ${kind} (${violationKinds[kind]}), ${found.length} ×, such as ${found.slice(0, 3).map(({ what }) => what).join('; ')}`,
    ),
    ...(violations.length > 0 ? [`${database}: logs and histories in ${folder}`] : []),
  ])
  return [table.toString(), 'not acknowledged because of', ...reasons, ...(faults.length > 0 ? faults : ['nothing lost, nothing out of order'])].join('\n')
}
