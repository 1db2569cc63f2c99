// `npm run bench -- outbox`: measures Dapr's built-in outbox, ours, and the driver with kafkajs
// alone, on both databases in one run.
import { setTimeout as sleep } from 'node:timers/promises'
import { poll } from '../platform/poll.ts'
import { createProgress, duration, type Progress } from '../platform/progress.ts'
import { ensureParts } from '../platform/parts/ensure.ts'
import { startServers } from '../platform/start/shop.ts'
import { closedLoop, openLoop, summary, type Rate } from './load.ts'
import { describeMachine, describeVersions, watchSteal } from './machine.ts'
import { plotOutbox } from './outbox-plot.ts'
import { judge, outboxMarkdown } from './outbox-report.ts'
import type { DatabaseName, Latency, Measured, OutboxReport } from './outbox-result.ts'
import { createSetup, type OutboxSetup } from './outbox-setup.ts'
import { createChanges, type Change, type Changes, type Contender, type ContenderName } from './contender.ts'
import { writeResults } from './write-results.ts'

type Plan = {
  latencyMs: { builtin: number; others: number }
  callers: number[]
  /** Rounds of compared rates alternate, this many and this long. */
  rounds: number
  roundMs: number
  burst: number
  builtinWindowMs: number
  growth: boolean
}

const fullPlan: Plan = {
  latencyMs: { builtin: 40_000, others: 15_000 },
  callers: [1, 8, 32, 64],
  rounds: 7,
  roundMs: 1_200,
  burst: 20_000,
  builtinWindowMs: 15_000,
  growth: true,
}
const quickPlan: Plan = {
  latencyMs: { builtin: 4_000, others: 2_000 },
  callers: [1, 8, 32],
  rounds: 1,
  roundMs: 800,
  burst: 1_500,
  builtinWindowMs: 4_000,
  growth: false,
}

const openRates: Record<ContenderName, number> = { builtin: 3, ours: 100, driver: 100 }
const rareRate = 2

/**
 * Measures, prints the report and writes bench/results/outbox.{json,md,svg}.
 * @param options.quick a run of about a minute that shows whether something broke, not for quoting
 * @param options.only one database
 * @param options.keep leave the servers running
 */
export async function benchOutbox({
  quick = false,
  only,
  keep = false,
}: {
  quick?: boolean
  only?: DatabaseName
  keep?: boolean
}): Promise<void> {
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
    if (daprd.from === 'address') throw new Error('daprd must be a program, not an address')
    const shop = await startServers(['mongodb', 'mysql', 'kafka'], {
      instance: 'bench',
      portBase: 'free',
      progress,
      ...(keep ? { detach: true } : {}),
    })
    if (!keep) closers.push(shop.stop)
    const report: OutboxReport = {
      date: new Date().toISOString(),
      quick,
      machine: describeMachine(),
      versions: describeVersions(),
      durability: { kafka: { acks: 'all', brokers: '1', flush: "the broker's default (page cache)" } },
      openRates,
      results: {},
      ratios: [],
      seconds: 0,
    }
    for (const database of only ? [only] : (['mysql', 'mongodb'] as const)) {
      const setup = await progress.step({ title: `${database}: sidecar, component, topics` }, () =>
        createSetup(database, { ...shop.urls, daprd: daprd.path }),
      )
      closers.push(setup.close)
      Object.assign(report.versions, setup.versions)
      report.durability[database] = setup.durability
      report.results[database] = await measure(database, setup, quick ? quickPlan : fullPlan, progress)
      closers.pop()
      await setup.close()
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
  console.error(`${duration(Date.now() - began)}; wrote bench/results/outbox.{json,md,svg}`)
}

function writeReport(report: OutboxReport): void {
  const markdown = outboxMarkdown(report)
  writeResults('outbox', report, { markdown, svg: plotOutbox(report) })
  console.log(markdown)
}

/**
 * Takes all measurements on one database. Those that fill the built-in outbox's queue come last: it
 * takes minutes to drain.
 */
async function measure(
  database: DatabaseName,
  { contenders, get, nothing, startReplica }: OutboxSetup,
  plan: Plan,
  progress: Progress,
): Promise<Measured> {
  const step = <T>(title: string, work: () => Promise<T>) => progress.step({ title: `${database}: ${title}` }, work)

  const stolen = watchSteal()
  const latency = {} as Measured['latency']
  for (const name of ['ours', 'driver', 'builtin'] as const) {
    const ms = name === 'builtin' ? plan.latencyMs.builtin : plan.latencyMs.others
    latency[name] = await step(`commit to consumer, ${name} at ${openRates[name]}/s`, () =>
      measureLatency(contenders[name], openRates[name], ms),
    )
  }

  const throughReplica = await step(
    `commit to consumer, ours through another replica at ${openRates.ours}/s and ${rareRate}/s`,
    async () => {
      const replica = await startReplica()
      try {
        const usual = await measureLatency(replica.contender, openRates.ours, plan.latencyMs.others)
        return { usual, rare: await measureLatency(replica.contender, rareRate, plan.latencyMs.others) }
      } finally {
        await replica.close()
      }
    },
  )

  const gets = await step('get', async () => {
    const { ours, dapr } = await alternate(plan, {
      ours: () => closedLoop(32, plan.roundMs, get.ours),
      dapr: () => closedLoop(32, plan.roundMs, get.dapr),
    })
    return { ours, dapr }
  })

  const transactions: Measured['transactions'] = { builtin: [], ours: [], driver: [], nothing: [] }
  for (const callers of plan.callers) {
    const pair = await step(`transactions, ${callers} callers`, () =>
      compare(contenders, plan, callers, createChanges()),
    )
    transactions.ours.push(pair.ours)
    transactions.driver.push(pair.driver)
    const changes = createChanges()
    transactions.nothing.push(await closedLoop(callers, plan.roundMs, () => nothing(changes.next())))
  }

  let growth: Measured['growth']
  if (plan.growth) {
    growth = { keys: [], bytes: [] }
    for (const keys of [1, 100, 10_000]) {
      growth.keys.push({
        at: keys,
        ...(await step(`${keys} keys, 32 callers`, () => compare(contenders, plan, 32, createChanges({ keys })))),
      })
    }
    for (const bytes of [100, 4_096, 65_536]) {
      growth.bytes.push({
        at: bytes,
        ...(await step(`${bytes} bytes, 32 callers`, () => compare(contenders, plan, 32, createChanges({ bytes })))),
      })
    }
  }

  const burst = (name: ContenderName) =>
    step(`events per second, ${name}`, () => measureBurst(contenders[name], plan.burst))
  const eventsPerSecond = { ours: await burst('ours'), driver: await burst('driver'), builtin: 0 }

  // Not alternating: its backlog would run during the others' rounds.
  for (const callers of plan.callers) {
    const changes = createChanges()
    transactions.builtin.push(
      await step(`transactions, ${callers} callers, builtin`, () =>
        closedLoop(callers, plan.roundMs, () => contenders.builtin.transact(changes.next())),
      ),
    )
  }
  eventsPerSecond.builtin = await step('events per second, builtin', () =>
    measureBacklogged(contenders.builtin, plan.builtinWindowMs),
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

async function measureLatency(contender: Contender, perSecond: number, ms: number): Promise<Latency> {
  const changes = createChanges()
  const called = new Map<string, number>()
  const committed = new Map<string, number>()
  await openLoop(perSecond, ms, async () => {
    const change = changes.next()
    called.set(change.id, performance.now())
    await contender.transact(change)
    committed.set(change.id, performance.now())
    await contender.publish?.(change)
  })
  await arrived(contender, [...committed.keys()])
  const since = (from: Map<string, number>) =>
    summary([...from].map(([id, at]) => Math.max(0, contender.arrivals.at.get(id)! - at)))
  return { transactionsPerSecond: perSecond, ...since(committed), fromCall: since(called) }
}

/** Alternates rounds of the same work by our store and by the driver. */
async function compare(
  contenders: OutboxSetup['contenders'],
  plan: Plan,
  callers: number,
  changes: Changes,
): Promise<{ ours: Rate; driver: Rate }> {
  const committed: string[] = []
  const { ours, driver } = await alternate(plan, {
    driver: () => closedLoop(callers, plan.roundMs, () => contenders.driver.transact(changes.next())),
    ours: async () => {
      const rate = await closedLoop(callers, plan.roundMs, async () => {
        const change = changes.next()
        await contenders.ours.transact(change)
        committed.push(change.id)
      })
      // The relay must not still be sending in the next round. This also shows that no event is
      // lost.
      await arrived(contenders.ours, committed.splice(0))
      return rate
    },
  })
  return { ours, driver }
}

/** Alternates the works' rounds and returns the round with the median rate of each. */
async function alternate<Name extends string>(
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

/** Returns events per second from the first transaction to the last arrival, with 32 callers. */
async function measureBurst(contender: Contender, count: number): Promise<number> {
  const changes = createChanges()
  const sent: Change[] = Array.from({ length: count }, () => changes.next())
  const queue = sent.values()
  const began = performance.now()
  await Promise.all(
    Array.from({ length: 32 }, async () => {
      for (const change of queue) {
        await contender.transact(change)
        await contender.publish?.(change)
      }
    }),
  )
  await arrived(
    contender,
    sent.map(({ id }) => id),
  )
  return count / ((Math.max(...sent.map(({ id }) => contender.arrivals.at.get(id)!)) - began) / 1_000)
}

/** Returns events per second while more events wait than can be sent. */
async function measureBacklogged(contender: Contender, ms: number): Promise<number> {
  const began = performance.now()
  const before = contender.arrivals.at.size
  await sleep(ms)
  return (contender.arrivals.at.size - before) / ((performance.now() - began) / 1_000)
}

async function arrived(contender: Contender, ids: string[]): Promise<void> {
  await poll(`${ids.length} events`, () => ids.every((id) => contender.arrivals.at.has(id)), {
    timeoutMs: 120_000,
    intervalMs: 20,
  })
}
