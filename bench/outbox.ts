// `npm run bench -- outbox`: Dapr's built-in outbox, ours, and the plain driver with kafkajs, on
// both databases in one run.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { root } from '../platform/processes/paths.ts'
import { poll } from '../platform/poll.ts'
import { createProgress, duration, type Progress } from '../platform/progress.ts'
import { ensureParts } from '../platform/parts/ensure.ts'
import { startServers } from '../platform/start/shop.ts'
import { closedLoop, openLoop, summary, type Rate, type Summary } from './load.ts'
import { describeMachine, describeVersions, watchSteal } from './machine.ts'
import { plotOutbox } from './outbox-plot.ts'
import { judge, outboxMarkdown, type OutboxReport } from './outbox-report.ts'
import { createRig, type DatabaseName, type Rig } from './outbox-setup.ts'
import { createChanges, type Change, type Changes, type Way, type WayName } from './outbox-path.ts'

export type Latency = Summary & { transactionsPerSecond: number; fromCall: Summary }

export type Measured = {
  /** From the commit's answer to the consumer; `fromCall` from before the transaction. */
  latency: Record<WayName, Latency>
  /**
   * Ours where another replica than the one that commits relays: at the usual rate, and so rarely
   * that it is at rest in between.
   */
  throughReplica: { usual: Latency; rare: Latency }
  eventsPerSecond: Record<WayName, number>
  /** `nothing`: the same calls through the same sidecar to a store that does nothing. */
  transactions: Record<WayName | 'nothing', Rate[]>
  /** The share of the processors' time that the machine's host gave to others meanwhile. */
  stolen?: number
  gets: { ours: Rate; dapr: Rate }
  growth?: { keys: Growth[]; bytes: Growth[] }
}

export type Growth = { at: number; ours: Rate; plain: Rate }

type Plan = {
  latencyMs: { builtin: number; others: number }
  callers: number[]
  /** Each rate is measured in turns with what it is compared with, this often and this long. */
  rounds: number
  roundMs: number
  burst: number
  builtinWindowMs: number
  growth: boolean
}

const full: Plan = {
  latencyMs: { builtin: 40_000, others: 15_000 },
  callers: [1, 8, 32, 64],
  rounds: 7,
  roundMs: 1_200,
  burst: 20_000,
  builtinWindowMs: 15_000,
  growth: true,
}
const quick: Plan = {
  latencyMs: { builtin: 4_000, others: 2_000 },
  callers: [1, 8, 32],
  rounds: 1,
  roundMs: 800,
  burst: 1_500,
  builtinWindowMs: 4_000,
  growth: false,
}

const openRates: Record<WayName, number> = { builtin: 3, ours: 100, plain: 100 }
const rareRate = 2

/**
 * Measures, prints the table and writes bench/results/outbox.{json,md,svg}.
 * @param o.quick a run of about a minute, to see whether something broke rather than to quote
 * @param o.only one database
 */
export async function benchOutbox(o: { quick?: boolean; only?: DatabaseName; keep?: boolean }): Promise<void> {
  const began = Date.now()
  const progress = createProgress()
  const closers: (() => Promise<void>)[] = []
  const close = async () => {
    for (const closer of closers.splice(0).toReversed()) await closer()
  }
  const interrupted = (signal: NodeJS.Signals) =>
    void close().finally(() => process.exit(signal === 'SIGINT' ? 130 : 143))
  process.once('SIGINT', interrupted).once('SIGTERM', interrupted)
  try {
    const { daprd } = await ensureParts(['daprd'], progress)
    if (daprd.from === 'address') throw new Error('the sidecar has to be a program')
    const shop = await startServers(['mongodb', 'mysql', 'kafka'], {
      instance: 'bench',
      portBase: 'free',
      progress,
      ...(o.keep ? { detach: true } : {}),
    })
    if (!o.keep) closers.push(shop.stop)
    const report: OutboxReport = {
      date: new Date().toISOString(),
      quick: o.quick ?? false,
      machine: describeMachine(),
      versions: describeVersions(),
      durability: { kafka: { acks: 'all', brokers: '1', flush: "the broker's default (page cache)" } },
      openRates,
      results: {},
      ratios: [],
      seconds: 0,
    }
    for (const database of o.only ? [o.only] : (['mysql', 'mongodb'] as const)) {
      const rig = await progress.step({ title: `${database}: sidecar, component, topics` }, () =>
        createRig(database, { ...shop.urls, daprd: daprd.path }),
      )
      closers.push(rig.close)
      Object.assign(report.versions, rig.versions)
      report.durability[database] = rig.durability
      report.results[database] = await measure(database, rig, o.quick ? quick : full, progress)
      closers.pop()
      await rig.close()
    }
    report.ratios = judge(report)
    report.seconds = Math.round((Date.now() - began) / 1_000)
    await close()
    writeReport(report)
  } finally {
    await close()
    progress.close()
    process.off('SIGINT', interrupted).off('SIGTERM', interrupted)
  }
  console.error(`${duration(Date.now() - began)}; written: bench/results/outbox.{json,md,svg}`)
}

function writeReport(report: OutboxReport): void {
  const folder = join(root, 'bench', 'results')
  mkdirSync(folder, { recursive: true })
  const markdown = outboxMarkdown(report)
  writeFileSync(join(folder, 'outbox.json'), `${JSON.stringify(report, undefined, 2)}\n`)
  writeFileSync(join(folder, 'outbox.md'), markdown)
  writeFileSync(join(folder, 'outbox.svg'), plotOutbox(report))
  console.log(markdown)
}

/**
 * All measurements on one database. What fills the built-in outbox's queue comes last: it would not
 * be empty for minutes.
 */
async function measure(
  database: DatabaseName,
  { ways, get, nothing, startReplica }: Rig,
  plan: Plan,
  progress: Progress,
): Promise<Measured> {
  const step = <T>(title: string, work: () => Promise<T>) => progress.step({ title: `${database}: ${title}` }, work)

  const stolen = watchSteal()
  const latency = {} as Measured['latency']
  for (const name of ['ours', 'plain', 'builtin'] as const) {
    const ms = name === 'builtin' ? plan.latencyMs.builtin : plan.latencyMs.others
    latency[name] = await step(`commit to consumer, ${name} at ${openRates[name]}/s`, () =>
      measureLatency(ways[name], openRates[name], ms),
    )
  }

  const throughReplica = await step(
    `commit to consumer, ours through another replica at ${openRates.ours}/s and ${rareRate}/s`,
    async () => {
      const replica = await startReplica()
      try {
        const usual = await measureLatency(replica.way, openRates.ours, plan.latencyMs.others)
        return { usual, rare: await measureLatency(replica.way, rareRate, plan.latencyMs.others) }
      } finally {
        await replica.close()
      }
    },
  )

  const gets = await step('get', async () => {
    const { ours, dapr } = await inTurns(plan, {
      ours: () => closedLoop(32, plan.roundMs, get.ours),
      dapr: () => closedLoop(32, plan.roundMs, get.dapr),
    })
    return { ours, dapr }
  })

  const transactions: Measured['transactions'] = { builtin: [], ours: [], plain: [], nothing: [] }
  for (const callers of plan.callers) {
    const pair = await step(`transactions, ${callers} callers`, () => compare(ways, plan, callers, createChanges()))
    transactions.ours.push(pair.ours)
    transactions.plain.push(pair.plain)
    const changes = createChanges()
    transactions.nothing.push(await closedLoop(callers, plan.roundMs, () => nothing(changes.next())))
  }

  let growth: Measured['growth']
  if (plan.growth) {
    growth = { keys: [], bytes: [] }
    for (const keys of [1, 100, 10_000]) {
      growth.keys.push({
        at: keys,
        ...(await step(`${keys} keys, 32 callers`, () => compare(ways, plan, 32, createChanges({ keys })))),
      })
    }
    for (const bytes of [100, 4_096, 65_536]) {
      growth.bytes.push({
        at: bytes,
        ...(await step(`${bytes} bytes, 32 callers`, () => compare(ways, plan, 32, createChanges({ bytes })))),
      })
    }
  }

  const burst = (name: WayName) => step(`events a second, ${name}`, () => measureBurst(ways[name], plan.burst))
  const eventsPerSecond = { ours: await burst('ours'), plain: await burst('plain'), builtin: 0 }

  // Not in turns: its backlog would run beside the others' rounds.
  for (const callers of plan.callers) {
    const changes = createChanges()
    transactions.builtin.push(
      await step(`transactions, ${callers} callers, builtin`, () =>
        closedLoop(callers, plan.roundMs, () => ways.builtin.transact(changes.next())),
      ),
    )
  }
  eventsPerSecond.builtin = await step('events a second, builtin', () =>
    measureBacklogged(ways.builtin, plan.builtinWindowMs),
  )
  const share = stolen()
  return {
    latency,
    throughReplica,
    eventsPerSecond,
    transactions,
    gets,
    ...(growth ? { growth } : {}),
    ...(share === undefined ? {} : { stolen: share }),
  }
}

async function measureLatency(way: Way, perSecond: number, ms: number): Promise<Latency> {
  const changes = createChanges()
  const called = new Map<string, number>()
  const committed = new Map<string, number>()
  await openLoop(perSecond, ms, async () => {
    const change = changes.next()
    called.set(change.id, performance.now())
    await way.transact(change)
    committed.set(change.id, performance.now())
    await way.publish?.(change)
  })
  await arrived(way, [...committed.keys()])
  const since = (from: Map<string, number>) =>
    summary([...from].map(([id, at]) => Math.max(0, way.arrivals.at.get(id)! - at)))
  return { transactionsPerSecond: perSecond, ...since(committed), fromCall: since(called) }
}

/** The same work in turns by our store and by the plain driver, each for its own rounds. */
async function compare(
  ways: Rig['ways'],
  plan: Plan,
  callers: number,
  changes: Changes,
): Promise<{ ours: Rate; plain: Rate }> {
  const committed: string[] = []
  const { ours, plain } = await inTurns(plan, {
    plain: () => closedLoop(callers, plan.roundMs, () => ways.plain.transact(changes.next())),
    ours: async () => {
      const rate = await closedLoop(callers, plan.roundMs, async () => {
        const change = changes.next()
        await ways.ours.transact(change)
        committed.push(change.id)
      })
      // What our relay has not sent yet must not run beside the next round. It also shows that
      // nothing is lost.
      await arrived(ways.ours, committed.splice(0))
      return rate
    },
  })
  return { ours, plain }
}

/** Of each the round in the middle, by its rate. */
async function inTurns<Name extends string>(
  plan: Plan,
  works: Record<Name, () => Promise<Rate>>,
): Promise<Record<Name, Rate>> {
  const rates = Object.fromEntries(Object.keys(works).map((name) => [name, []])) as unknown as Record<Name, Rate[]>
  for (let round = 0; round < plan.rounds; round += 1) {
    for (const name of Object.keys(works) as Name[]) rates[name].push(await works[name]())
  }
  const middle = (all: Rate[]) => all.toSorted((a, b) => a.perSecond - b.perSecond)[Math.floor(all.length / 2)]!
  return Object.fromEntries((Object.keys(works) as Name[]).map((name) => [name, middle(rates[name])])) as Record<
    Name,
    Rate
  >
}

/** From the first transaction's beginning to the last event's arrival, with 32 callers. */
async function measureBurst(way: Way, count: number): Promise<number> {
  const changes = createChanges()
  const sent: Change[] = Array.from({ length: count }, () => changes.next())
  const queue = sent.values()
  const began = performance.now()
  await Promise.all(
    Array.from({ length: 32 }, async () => {
      for (const change of queue) {
        await way.transact(change)
        await way.publish?.(change)
      }
    }),
  )
  await arrived(
    way,
    sent.map(({ id }) => id),
  )
  return count / ((Math.max(...sent.map(({ id }) => way.arrivals.at.get(id)!)) - began) / 1_000)
}

/** With more waiting than can be sent: what arrives in a while. */
async function measureBacklogged(way: Way, ms: number): Promise<number> {
  const began = performance.now()
  const before = way.arrivals.at.size
  await sleep(ms)
  return (way.arrivals.at.size - before) / ((performance.now() - began) / 1_000)
}

async function arrived(way: Way, ids: string[]): Promise<void> {
  await poll(`${ids.length} events`, () => ids.every((id) => way.arrivals.at.has(id)), {
    timeoutMs: 120_000,
    intervalMs: 20,
  })
}
