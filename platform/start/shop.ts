// Starting and stopping a shop, or only some of its servers: what the commands and the tests use.
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { lock } from '../parts/cache.ts'
import { renderCompose } from '../supervise/process-compose-config.ts'
import { rootUrls } from '../processes/database-urls.ts'
import { writeGeneratedFiles } from '../processes/generated-files.ts'
import { freePortBase, recordedPorts, recordPorts, takenPorts } from '../supervise/instance.ts'
import { disown, endLeftovers, findLeftovers, isAbandoned, recordPids, takeOwnership } from '../supervise/leftovers.ts'
import { createPaths, type Paths } from '../processes/paths.ts'
import { poll } from '../poll.ts'
import { createPorts, serviceNames, type Ports } from '../processes/ports.ts'
import { prepareData, trustAnchors } from './prepare.ts'
import { describeProcesses, kafkaBrokers, type Context, type ServerName } from '../processes/processes.ts'
import { createProgress, type Progress } from '../progress.ts'
import { loadSecrets, writePrivate, type Secrets } from '../processes/secrets.ts'
import { ensureParts, type Servers } from '../parts/ensure.ts'
import { ensureKafkaArchive } from '../parts/kafka-archive.ts'
import { partNames, type PartName } from '../parts/parts.ts'
import type { SetupInput } from './setup.ts'
import { describedFile, describedProcesses } from '../supervise/status.ts'
import * as supervisor from '../supervise/process-compose.ts'

export type Shop = {
  instance: string
  ports: Ports
  paths: Paths
  secrets: Secrets
  /** As administrator. */
  urls: { mongodbUri: string; mysqlUrl: string; kafkaBrokers: string }
  /** Whether it ran already when it was asked for. */
  reused: boolean
  process: (name: string) => ProcessHandle
  /** Stops everything in order. @throws Error when something is left */
  stop: () => Promise<void>
}

export type ProcessHandle = {
  /** 0 while it does not run. */
  pid: () => Promise<number>
  /**
   * Sends a signal, as a crash (SIGKILL) or a pause (SIGSTOP, SIGCONT); the supervisor restarts
   * what has ended. Throws when it does not run.
   */
  kill: (signal: NodeJS.Signals) => Promise<void>
  /** Ends it and leaves it so. */
  stop: () => Promise<void>
  /** Starts it and waits until it is healthy. */
  start: () => Promise<void>
  /** Waits until it runs and is healthy, under another pid than `not` if that is given. */
  ready: (options?: { not?: number; timeoutMs?: number }) => Promise<void>
}

export type StartOptions = {
  instance: string
  /** Absent: the default ports; 'free': a block that is free now. */
  portBase?: number | 'free' | undefined
  /** Only these servers, and nothing of the shop itself. */
  only?: ServerName[]
  /**
   * Leave it running when this process ends. Without it the next start ends what this process did
   * not stop.
   */
  detach?: boolean
  /**
   * Start it empty: a test must not meet what an earlier run left. Not heeded where it runs
   * already.
   */
  fresh?: boolean
  progress?: Progress
}

/**
 * Starts a shop and waits until every process is healthy. One that runs already is taken as it is;
 * what an earlier one left behind is ended first.
 * @throws Error that says what to do when a server can be neither found nor built, a port is taken,
 * or a process does not become healthy (then everything is stopped again)
 */
export async function startShop(options: StartOptions): Promise<Shop> {
  const paths = createPaths(options.instance)
  const progress = options.progress ?? createProgress()
  mkdirSync(paths.logs, { recursive: true, mode: 0o700 })
  const release = await lock(paths.lock, (holder) =>
    console.error(`Process ${holder} starts this shop already: waiting for it …`),
  )
  try {
    if ((await isRunning(paths)) && !isAbandoned(paths.owner)) return await attach(options, paths)
    const shop = await startNew(options, paths, progress)
    if (options.detach) disown(paths.owner)
    return shop
  } finally {
    release()
    if (options.progress === undefined) progress.close()
  }
}

/**
 * Real servers for tests, without the shop: those asked for, with users, databases and topics made.
 */
export function startServers(names: ServerName[], options: Omit<StartOptions, 'only'>): Promise<Shop> {
  return startShop({ ...options, only: names })
}

export async function isRunning(paths: Paths): Promise<boolean> {
  return (
    existsSync(paths.supervisorSocket) &&
    supervisor.processStates(paths).then(
      () => true,
      () => false,
    )
  )
}

/** A shop that runs. @throws Error when it does not */
export async function attachShop(instance: string): Promise<Shop> {
  const paths = createPaths(instance)
  if (!(await isRunning(paths))) throw new Error('The shop does not run. `npm start` starts it.')
  return attach({ instance }, paths)
}

async function attach(options: StartOptions, paths: Paths): Promise<Shop> {
  const ports = recordedPorts(paths)
  if (ports === undefined) throw new Error(`${paths.instance} is missing although the shop runs; stop it first`)
  const context = await createContext(ports, paths, neededParts(options.only), createProgress())
  await untilReady(paths, () => {})
  const states = await supervisor.processStates(paths)
  const missing = (options.only ?? []).filter(
    (name) => context.servers[name]?.from !== 'address' && !states.some((state) => state.name === name),
  )
  if (missing.length > 0) throw new Error(`"${options.instance}" runs without ${missing.join(', ')}; stop it first`)
  return createShop(options.instance, context, true)
}

async function startNew(options: StartOptions, paths: Paths, progress: Progress): Promise<Shop> {
  if (findLeftovers(paths).length > 0) {
    await progress.step({ title: 'End what an earlier start left behind' }, () => stopShop(paths))
  }
  takeOwnership(paths.owner)
  if (options.fresh) {
    deleteData(paths)
    rmSync(paths.logs, { recursive: true, force: true })
    mkdirSync(paths.logs, { mode: 0o700 })
  }
  const base = options.portBase === 'free' ? await freePortBase(paths) : options.portBase
  const ports = createPorts(base)
  const taken = await takenPorts(ports)
  if (taken.length > 0) {
    throw new Error(
      `something else listens on port ${taken.join(', ')}. Stop it, or give this shop other ports: PORT_BASE=31000 npm start`,
    )
  }
  const context = await createContext(ports, paths, neededParts(options.only), progress)
  writeGeneratedFiles(context)
  removeSockets(paths)
  prepareNameResolution(paths)
  const { kafka } = context.servers
  const kafkaArchive = kafka?.from === 'cache' ? await ensureKafkaArchive(kafka.path, progress) : undefined
  const wantsSentry = options.only === undefined || options.only.includes('sentry')
  const [anchors] = await Promise.all([wantsSentry ? trustAnchors(context) : '', prepareData(context, progress)])
  const processes = describeProcesses({ ...context, kafkaArchive, trustAnchors: anchors }, options.only)
  writePrivate(join(paths.generated, 'setup.json'), JSON.stringify(setupInput(context)))
  writePrivate(paths.compose, renderCompose(processes, paths.logs))
  writePrivate(describedFile(paths), describedProcesses(processes))
  recordPorts(paths, base)

  const shop = createShop(options.instance, context, false)
  const title = options.only ? `Start ${options.only.join(', ')}` : `Start ${processes.length} processes`
  try {
    await progress.step({ title, log: paths.logs }, async (note) => {
      const pid = supervisor.startSupervisor(servers(context)['process-compose'].path, paths)
      recordPids(paths.pids, [{ name: 'supervisor', pid }])
      await untilReady(paths, note)
    })
  } catch (error) {
    await stopShop(paths)
    throw error
  }
  return shop
}

function neededParts(only: ServerName[] | undefined): PartName[] {
  return only === undefined ? [...partNames] : [...only, 'process-compose']
}

async function createContext(ports: Ports, paths: Paths, names: PartName[], progress: Progress): Promise<Context> {
  return {
    ports,
    paths,
    secrets: loadSecrets(paths.secrets),
    servers: await ensureParts(names, progress),
    trustAnchors: '',
    programs: (file) => existsSync(join(paths.root, file)),
    gatewaySettings: gatewaySettings(process.env),
    log: { level: process.env['LOG_LEVEL'] ?? 'info', format: process.env['LOG_FORMAT'] ?? 'json' },
  }
}

/** Variables of the starter's environment that are meant for the gateway; all others stay here. */
function gatewaySettings(env: NodeJS.ProcessEnv): Record<string, string> {
  const names = [
    'CORS_ORIGINS',
    'TRUST_PROXY_HOPS',
    'RATE_LIMIT_PER_10S',
    'STAFF_RATE_LIMIT_PER_10S',
    'AUTH_RATE_LIMIT_PER_MIN',
  ]
  return Object.fromEntries(names.flatMap((name) => (env[name] ? [[name, env[name]]] : [])))
}

function servers(context: Context): Servers & { 'process-compose': { path: string } } {
  const found = context.servers['process-compose']
  if (found === undefined || found.from === 'address') throw new Error('process-compose was not found')
  return context.servers as Servers & { 'process-compose': { path: string } }
}

/** Deletes what a stopped shop holds, as if it had never run; its secrets and certificates stay. */
export function deleteData(paths: Paths): void {
  // The components keep beside their sockets what they were told to relay, and an import what it
  // has done.
  for (const folder of [paths.data, paths.sockets, join(paths.state, 'imports')])
    rmSync(folder, { recursive: true, force: true })
}

/**
 * A new, empty name-resolution database. It is put into WAL mode here, because SQLite cannot wait
 * for a lock while it changes the mode: of several sidecars that start at once one would fail to,
 * and daprd only logs that and is never found by the others.
 */
function prepareNameResolution(paths: Paths): void {
  const file = join(paths.state, 'name-resolution.db')
  for (const suffix of ['', '-wal', '-shm']) rmSync(file + suffix, { force: true })
  const database = new DatabaseSync(file)
  database.exec('PRAGMA journal_mode = WAL; CREATE TABLE made (at TEXT)')
  database.close()
}

function removeSockets(paths: Paths): void {
  // A socket that nobody listens on any more stops a sidecar at its start.
  for (const service of serviceNames) {
    const folder = join(paths.sockets, service)
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    for (const name of readdirSync(folder)) if (name.endsWith('.sock')) rmSync(join(folder, name), { force: true })
  }
}

function setupInput(context: Context): SetupInput {
  const { secrets, servers, ports } = context
  const urls = rootUrls(context)
  const passwords = Object.entries(secrets.services).map(([name, { database }]) => [name, database])
  return {
    ...urls,
    mongodbBootstrapUri: `mongodb://127.0.0.1:${ports.mongodb}/?directConnection=true`,
    kafkaBrokers: kafkaBrokers(context),
    passwords: Object.fromEntries(passwords) as SetupInput['passwords'],
    mongodbRoot: secrets.mongodbRoot,
    ownMongodb: servers.mongodb?.from !== 'address',
  }
}

const startMs = 300_000

/** Waits until every process is healthy and every task done; records each pid as it appears. */
async function untilReady(paths: Paths, note: (text: string) => void): Promise<void> {
  let last = ''
  await poll(
    'the shop becomes healthy',
    async () => {
      const states = await supervisor.processStates(paths).catch((error: NodeJS.ErrnoException) => {
        if (error.code === 'ENOENT' || error.code === 'ECONNREFUSED') return undefined
        throw error
      })
      if (states === undefined || states.length === 0) return false
      recordPids(
        paths.pids,
        states.filter(({ pid, is_running }) => is_running && pid > 0),
      )
      const failed = states.find(hasFailed)
      if (failed) throw new Failed(failureOf(failed, paths))
      const waiting = states.filter((state) => !isReady(state)).map(({ name }) => name)
      const text = `waiting for ${waiting.join(', ')}`
      if (waiting.length > 0 && text !== last && process.stderr.isTTY) note(text)
      last = text
      return waiting.length === 0
    },
    { timeoutMs: startMs, intervalMs: 100, isFatal: (error) => error instanceof Failed },
  ).catch((error: unknown) => {
    throw error instanceof Failed
      ? error
      : new Error(`not healthy within ${startMs / 1000} s: ${last}; logs in ${paths.logs}`, { cause: error })
  })
}

class Failed extends Error {}

export function isReady(state: supervisor.ProcessState): boolean {
  if (state.namespace === 'task') return state.status === 'Completed' && state.exit_code === 0
  return state.is_running && (!state.has_ready_probe || state.is_ready === 'Ready')
}

/** A task that gave up, or a process that crashes again and again. */
function hasFailed(state: supervisor.ProcessState): boolean {
  if (state.status === 'Skipped' || state.status === 'Error') return true
  if (state.namespace === 'task') return state.status === 'Completed' && state.exit_code !== 0
  return state.restarts >= 8
}

function failureOf(state: supervisor.ProcessState, paths: Paths): string {
  const log = join(paths.logs, `${state.name}.log`)
  const tail = existsSync(log) ? readFileSync(log, 'utf8').trimEnd().split('\n').slice(-15).join('\n') : ''
  return `${state.name} does not start (restarts: ${state.restarts}, exit code: ${state.exit_code}). The end of ${log}:\n${tail}`
}

function createShop(instance: string, context: Context, reused: boolean): Shop {
  const { ports, paths, secrets } = context
  return {
    instance,
    ports,
    paths,
    secrets,
    urls: { ...rootUrls(context), kafkaBrokers: kafkaBrokers(context) },
    reused,
    process: (name) => processHandle(paths, name),
    stop: () => stopShop(paths),
  }
}

function processHandle(paths: Paths, name: string): ProcessHandle {
  const state = async () => {
    const found = (await supervisor.processStates(paths)).find((one) => one.name === name)
    if (found === undefined) throw new Error(`no process is named ${name}`)
    return found
  }
  const ready: ProcessHandle['ready'] = async ({ not, timeoutMs = 60_000 } = {}) => {
    const isUp = async () => {
      const now = await state()
      if (!isReady(now) || now.pid === not) return false
      recordPids(paths.pids, [now])
      return true
    }
    await poll(`${name} is healthy`, isUp, { timeoutMs })
  }
  const pid = async () => {
    const now = await state()
    return now.is_running ? now.pid : 0
  }
  return {
    pid,
    ready,
    kill: async (signal) => {
      const id = await pid()
      // 0 would be this process and all that it started.
      if (id === 0) throw new Error(`${name} does not run`)
      process.kill(id, signal)
    },
    stop: async () => {
      await supervisor.stopProcess(paths, name)
      await poll(`${name} ends`, async () => !(await state()).is_running)
    },
    start: async () => {
      await supervisor.startProcess(paths, name)
      await ready()
    },
  }
}

/**
 * Stops everything of a shop: in order by the supervisor, and whatever does not heed it one by one.
 * @throws Error when something is left after all
 */
export async function stopShop(paths: Paths): Promise<void> {
  if (await isRunning(paths)) {
    const states = await supervisor.processStates(paths).catch(() => [])
    recordPids(
      paths.pids,
      states.filter(({ pid, is_running }) => is_running && pid > 0),
    )
    await supervisor.stopProject(paths).catch(() => {})
    await poll('the processes end', () => findLeftovers(paths).length === 0, { timeoutMs: 15_000 }).catch(() => {})
  }
  await endLeftovers(paths)
  rmSync(paths.pids, { force: true })
  disown(paths.owner)
  rmSync(paths.supervisorSocket, { force: true })
}
