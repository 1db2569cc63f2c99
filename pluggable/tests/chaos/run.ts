// A chaos run: two replicas of a service, each with its sidecar and outbox component, write to one
// database under load while everything is killed repeatedly. Then the events on Kafka are compared
// with what was committed.
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { isAlive } from '../../../platform/process-info.ts'
import { poll } from '../../../platform/poll.ts'
import type { Shop } from '../../../platform/start/shop.ts'
import { prepareSidecar } from '../../../platform/testing/sidecar.ts'
import { componentCommand } from '../../../platform/testing/component-process.ts'
import { makeTopic, mongodbUnderTest, mysqlUnderTest, type TestDatabase } from '../stores.ts'
import {
  countRepeats,
  findViolations,
  type Arrival,
  type Attempt,
  type FinalState,
  type Outcome,
  type Violation,
} from './checker.ts'
import { readHistory } from './history.ts'
import { keepRunning, type KeptRunning } from './keep-running.ts'
import { createPlan, describeStep, replicas, type Step, type Victim } from './plan.ts'
import { readState } from './read-state.ts'
import { readTopic } from './read-topic.ts'
import type { ServiceSettings } from './service.ts'

export type DatabaseName = 'mysql' | 'mongodb'

export type ChaosOptions = {
  database: DatabaseName
  seed: number
  kills: number
  /** The length of the Kafka outage in the middle. */
  kafkaAwayMs: number
  /** This run's own MySQL, MongoDB and Kafka, since it kills them. */
  servers: Shop
  /** daprd's path. */
  daprd: string
  /** Called at the start of each step. */
  onStep?: (text: string) => void
}

export type ChaosResult = {
  database: DatabaseName
  seed: number
  seconds: number
  kills: Record<Victim, number>
  transactions: Record<Outcome, number> & { unknownDone: number }
  /** Why transactions were not acknowledged. */
  reasons: Map<string, number>
  events: number
  repeats: number
  /** The longest time without a commit by a replica, in milliseconds. */
  standstillMs: number
  /** From the end of the load until the outbox was empty, in milliseconds. */
  drainMs: number
  violations: Violation[]
  /** All logs and histories. */
  folder: string
}

const writers = 5
const keys = 20
/** Longer than any victim needs to be back, including daprd's back-off. */
const patienceMs = 90_000

/**
 * Runs one plan on one database.
 * @throws Error when a victim is not back, or the outbox not empty, within 90 s
 */
export async function runChaos(o: ChaosOptions): Promise<ChaosResult> {
  const began = Date.now()
  const folder = join(o.servers.paths.logs, `chaos-${o.database}`)
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder)
  const { kafkaBrokers, mysqlUrl, mongodbUri } = o.servers.urls
  const database = await (
    o.database === 'mysql' ? mysqlUnderTest(mysqlUrl) : mongodbUnderTest(mongodbUri)
  ).createDatabase()
  const topic = await makeTopic(kafkaBrokers)
  const metadata = { ...database.properties, relayBrokers: kafkaBrokers, relayTopic: topic, relaySource: 'chaos' }
  const all: Replica[] = []
  try {
    // One at a time: the schema exists before the second replica starts, and two cores have less to
    // do at once.
    for (let n = 0; n < replicas; n += 1) all.push(await startReplica(n, { ...o, folder, metadata }))
    const kills: Record<Victim, number> = { component: 0, sidecar: 0, service: 0, kafka: 0, database: 0 }
    for (const step of createPlan(o.seed, o.kills, o.kafkaAwayMs)) {
      await sleep(step.afterMs)
      if (!step.eager) await Promise.all(all.map((replica) => replica.hasCommitted()))
      for (const replica of all) replica.mark()
      o.onStep?.(describeStep(step))
      await perform(step, all, o)
      if (step.action === 'kill') kills[step.victim] += 1
    }
    await Promise.all(all.map((replica) => replica.hasCommitted()))
    await Promise.all(all.map((replica) => replica.service.close()))
    const ended = performance.now()
    const outcome = await readOutcome(database, kafkaBrokers, topic)
    const { attempts, reasons } = readHistories(folder)
    return {
      database: o.database,
      seed: o.seed,
      seconds: (Date.now() - began) / 1_000,
      kills,
      transactions: countOutcomes(attempts, outcome.state),
      reasons,
      events: outcome.arrivals.length,
      repeats: countRepeats(outcome.arrivals),
      standstillMs: Math.max(...all.map((replica) => replica.standstillMs())),
      drainMs: outcome.emptyAt - ended,
      violations: findViolations(attempts, outcome.state, outcome.arrivals),
      folder,
    }
  } finally {
    for (const replica of all) await replica.close()
    await database.drop().catch(() => {})
  }
}

type Replica = {
  component: KeptRunning
  sidecar: KeptRunning
  service: KeptRunning
  /** Resolves once a transaction has been committed since the last mark. */
  hasCommitted: () => Promise<void>
  mark: () => void
  standstillMs: () => number
  close: () => Promise<void>
}

async function startReplica(
  n: number,
  o: ChaosOptions & { folder: string; metadata: Record<string, string> },
): Promise<Replica> {
  const name = String(n + 1)
  const sockets = mkdtempSync(join(tmpdir(), 'chaos-'))
  const sidecar = await prepareSidecar({
    appId: 'chaos',
    components: [{ name: 'store', type: `state.outbox-${o.database}`, metadata: o.metadata }],
    folder: sockets,
    daprd: o.daprd,
  })
  const running: KeptRunning[] = []
  const keep = (
    what: string,
    ...[command, printed]: [Parameters<typeof keepRunning>[0], ((text: string) => void)?]
  ) => {
    const kept = keepRunning(command, { log: join(o.folder, `${what}-${name}.log`), ...(printed ? { printed } : {}) })
    running.push(kept)
    return kept
  }
  const close = async () => {
    for (const each of running.toReversed()) await each.close()
    sidecar.remove()
    rmSync(sockets, { recursive: true, force: true })
  }
  try {
    const component = keep('component', componentCommand(`outbox-${o.database}`, sockets))
    await poll('the component listens', () => readdirSync(sockets).some((file) => file.endsWith('.sock')))
    const daprd = keep('sidecar', sidecar.command)
    await poll('the sidecar is healthy', sidecar.isHealthy)

    let acknowledged = 0
    let marked = 0
    let lastAt = performance.now()
    let longest = 0
    const service = keep(
      'service',
      serviceCommand({ ...sidecar, store: 'store', folder: o.folder, writers, keys }),
      (text) => {
        const now = performance.now()
        longest = Math.max(longest, now - lastAt)
        lastAt = now
        acknowledged += text.length
      },
    )
    return {
      component,
      sidecar: daprd,
      service,
      mark: () => (marked = acknowledged),
      hasCommitted: async () =>
        void (await poll(`replica ${name} commits a transaction again`, () => acknowledged > marked, {
          timeoutMs: patienceMs,
          intervalMs: 20,
        })),
      standstillMs: () => longest,
      close,
    }
  } catch (error) {
    await close()
    throw error
  }
}

function serviceCommand(settings: ServiceSettings): Parameters<typeof keepRunning>[0] {
  const { grpcPort, httpPort, apiToken, store, folder, writers, keys } = settings
  const program = fileURLToPath(new URL('service.ts', import.meta.url))
  const argument = JSON.stringify({
    grpcPort,
    httpPort,
    apiToken,
    store,
    folder,
    writers,
    keys,
  } satisfies ServiceSettings)
  return { file: process.execPath, args: [program, argument], env: { PATH: process.env['PATH'] } }
}

async function perform(step: Step, all: Replica[], { servers, database }: ChaosOptions): Promise<void> {
  switch (step.action) {
    case 'kill': {
      const replica = all[step.replica]!
      const pids: Record<Victim, () => Promise<number> | number> = {
        component: replica.component.pid,
        sidecar: replica.sidecar.pid,
        service: replica.service.pid,
        kafka: servers.process('kafka').pid,
        database: servers.process(database).pid,
      }
      await kill(step.victim, pids[step.victim])
      return
    }
    case 'freeze': {
      const pid = await poll('the component runs', all[step.replica]!.component.pid)
      process.kill(pid, 'SIGSTOP')
      try {
        await sleep(step.forMs)
      } finally {
        process.kill(pid, 'SIGCONT')
      }
      return
    }
    case 'kafka outage': {
      const kafka = servers.process('kafka')
      await kafka.stop()
      await sleep(step.forMs)
      await kafka.start()
    }
  }
}

/** Kills a process, now or as soon as it runs again. */
async function kill(what: string, pidOf: () => Promise<number> | number): Promise<void> {
  await poll(
    `${what} runs`,
    async () => {
      const pid = await pidOf()
      // The supervisor may still report a process that has just ended.
      if (pid === 0 || !isAlive(pid)) return false
      process.kill(pid, 'SIGKILL')
      return true
    },
    { timeoutMs: patienceMs, intervalMs: 20 },
  )
}

type RunOutcome = { state: FinalState; arrivals: Arrival[]; emptyAt: number }

/**
 * Reads a consistent pair of state and topic: a call that its caller has given up may still commit
 * after the end of the load.
 */
async function readOutcome(database: TestDatabase, brokers: string, topic: string): Promise<RunOutcome> {
  return poll(
    'no further transaction is committed',
    async () => {
      const before = await readState(database.properties)
      await poll('the outbox is empty', async () => (await database.waiting()) === 0, { timeoutMs: patienceMs })
      const emptyAt = performance.now()
      const arrivals = await readTopic(brokers, topic)
      const state = await readState(database.properties)
      return state.committed.size === before.committed.size && { state, arrivals, emptyAt }
    },
    { timeoutMs: 2 * patienceMs },
  )
}

function readHistories(folder: string): { attempts: Attempt[]; reasons: Map<string, number> } {
  const histories = readdirSync(folder)
    .filter((file) => file.endsWith('.jsonl'))
    .map((file) => readHistory(join(folder, file)))
  const reasons = new Map<string, number>()
  for (const [reason, count] of histories.flatMap((each) => [...each.reasons]))
    reasons.set(reason, (reasons.get(reason) ?? 0) + count)
  return { attempts: histories.flatMap(({ attempts }) => attempts), reasons }
}

function countOutcomes(attempts: Attempt[], state: FinalState): ChaosResult['transactions'] {
  const count = (outcome: Outcome) => attempts.filter((each) => each.outcome === outcome).length
  const unknownDone = attempts.filter(({ outcome, id }) => outcome === 'unknown' && state.committed.has(id)).length
  return { acked: count('acked'), refused: count('refused'), unknown: count('unknown'), unknownDone }
}
