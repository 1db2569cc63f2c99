// Starts a shop, or only some of its servers, for the commands and the tests. `prepareShop` is the
// whole start, step by step, up to the supervisor.
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { lock } from '../parts/cache.ts'
import { ensureOptionalPart, ensureParts, type Servers } from '../parts/ensure.ts'
import { cachedPart, findPart } from '../parts/find.ts'
import { ensureKafkaArchive } from '../parts/kafka-archive.ts'
import { partNames, type PartName } from '../parts/parts.ts'
import { kafkaBrokers, openSearchUrl, rootUrls } from '../processes/addresses.ts'
import type { Context } from '../processes/context.ts'
import { writeGeneratedFiles } from '../processes/generated-files.ts'
import { createPaths, type Paths } from '../processes/paths.ts'
import { createPorts, type Ports } from '../processes/ports.ts'
import type { Process } from '../processes/process.ts'
import { describeProcesses } from '../processes/processes.ts'
import { loadSecrets, writePrivate, type Secrets } from '../processes/secrets.ts'
import type { ServerName } from '../processes/servers.ts'
import type { ServiceName } from '../processes/services.ts'
import { createProgress, type Progress } from '../progress.ts'
import { freePortBase, recordedPorts, recordPorts, takenPorts } from '../supervise/instance.ts'
import { disown, findLeftovers, isAbandoned, recordPids, takeOwnership } from '../supervise/leftovers.ts'
import { startSupervisor } from '../supervise/process-compose.ts'
import { renderSupervisorConfig } from '../supervise/process-compose-config.ts'
import { recordDescription } from '../supervise/description.ts'
import { processStates } from '../supervise/supervisor.ts'
import { findTilt } from '../supervise/tilt.ts'
import { trustAnchors } from './certificate-authority.ts'
import { createDataFolders } from './data-folders.ts'
import { processHandle, type ProcessHandle } from './process-handle.ts'
import { isRunning, untilReady } from './readiness.ts'
import { setupInput } from './setup-input.ts'
import { prepareNameResolution, prepareSocketFolders } from './sidecar-files.ts'
import { deleteData, stopShop } from './stop.ts'

export type { ProcessHandle }

export type Shop = {
  instance: string
  ports: Ports
  paths: Paths
  secrets: Secrets
  /** The servers' addresses, as administrator. */
  urls: { mongodbUri: string; mysqlUrl: string; kafkaBrokers: string; openSearchUrl: string }
  /** Whether it already ran. */
  reused: boolean
  process: (name: string) => ProcessHandle
  /** Stops everything in order. @throws Error when a process is left */
  stop: () => Promise<void>
}

export type StartOptions = {
  instance: string
  /** Absent: the default ports; 'free': a block that is free now. */
  portBase?: number | 'free' | undefined
  /** Only these servers, and nothing of the shop itself. */
  only?: ServerName[]
  /**
   * Leave it running when this process ends. Without it, the next start ends what this process did
   * not stop.
   */
  detach?: boolean
  /** Start it empty, without what an earlier run left. Ignored if it already runs. */
  fresh?: boolean
  /**
   * Start without Jaeger if it has yet to be built: the shop builds it in the background, and it
   * joins when it is ready. Without it, the start waits for the build.
   */
  jaegerMayJoinLater?: boolean
  /** Services with a second replica, for tests; not of the gateway, which has the API's port. */
  replicas?: Exclude<ServiceName, 'gateway'>[]
  /** It is prepared again while it runs: nothing is ended or emptied. */
  whileItRuns?: boolean
  progress?: Progress
}

/**
 * Starts a shop and waits until every process is healthy. A shop that already runs is returned as
 * is; leftovers of an earlier one are ended first.
 * @throws Error that says what to do when a server can be neither found nor built, a port is taken,
 * or a process does not become healthy (then everything is stopped again)
 */
export async function startShop(options: StartOptions): Promise<Shop> {
  const paths = createPaths(options.instance)
  const progress = options.progress ?? createProgress()
  mkdirSync(paths.logs, { recursive: true, mode: 0o700 })
  const release = await lock(paths.lock, (holder) =>
    console.error(`Process ${holder} is already starting this shop: waiting …`),
  )
  try {
    const tilt = findTilt(paths)
    if (tilt !== undefined)
      throw new Error(
        `Tilt (process ${tilt.pid}) already runs this shop. Stop it there, or with \`npm stop\`; ` +
          'or start another shop: PORT_BASE=31000 npm start',
      )
    const runs = (await isRunning(paths)) && !isAbandoned(paths.owner)
    const shop = runs ? await attach(paths, options.only) : await startNew(options, paths, progress)
    if (!runs && options.detach) disown(paths.owner)
    return shop
  } finally {
    release()
    if (options.progress === undefined) progress.close()
  }
}

/**
 * Starts real servers for tests, without the shop, and creates their users, databases and topics.
 */
export function startServers(names: ServerName[], options: Omit<StartOptions, 'only'>): Promise<Shop> {
  return startShop({ ...options, only: names })
}

/** Returns a shop that runs. @throws Error when it does not */
export async function attachShop(instance: string): Promise<Shop> {
  const paths = createPaths(instance)
  if (!(await isRunning(paths))) throw new Error('The shop does not run. `npm start` starts it.')
  return attach(paths)
}

async function startNew(options: StartOptions, paths: Paths, progress: Progress): Promise<Shop> {
  const takeOver = () => takeOwnership(paths.owner)
  const { context, processes, supervisor } = await prepareShop(options, paths, progress, takeOver)
  writePrivate(paths.supervisorConfig, renderSupervisorConfig(processes, paths.logs))
  await superviseUntilReady(supervisor, processes, paths, progress)
  return createShop(context, false)
}

/**
 * Does everything up to starting the processes, which it returns: ends leftovers, finds or builds
 * the servers, writes what they and the sidecars read.
 * @param takeOver records who will stop the shop
 */
export async function prepareShop(
  options: StartOptions,
  paths: Paths,
  progress: Progress,
  takeOver: () => void,
): Promise<{ context: Context; processes: Process[]; supervisor: string }> {
  const runs = options.whileItRuns === true
  if (!runs) await endLeftovers(paths, progress)
  takeOver()
  if (options.fresh) deleteDataAndLogs(paths)

  const base = options.portBase === 'free' ? await freePortBase(paths) : options.portBase
  if (!runs) await refuseTakenPorts(createPorts(base))

  const { supervisor, ...found } = await ensureServers(options, progress)
  const edge = found.servers.nginx !== undefined
  const ports = createPorts(base, { edge })
  const secrets = loadSecrets(paths.secrets)
  const { replicas } = options
  const context: Context = { ...found, ports, paths, secrets, replicas, trustAnchors: '', env: process.env }

  // So that no file of an older version is read.
  if (!runs) rmSync(paths.generated, { recursive: true, force: true })
  writeGeneratedFiles(context)
  if (!runs) {
    prepareSocketFolders(paths, replicas)
    prepareNameResolution(paths)
  }
  const needsSentry = options.only === undefined || options.only.includes('sentry')
  const [anchors] = await Promise.all([needsSentry ? trustAnchors(context) : '', createDataFolders(context, progress)])

  const processes = describeProcesses({ ...context, trustAnchors: anchors }, options.only)
  writePrivate(join(paths.generated, 'setup.json'), JSON.stringify(setupInput(context)))
  recordDescription(paths, processes)
  recordPorts(paths, base, edge)
  return { context, processes, supervisor }
}

async function endLeftovers(paths: Paths, progress: Progress): Promise<void> {
  if (findLeftovers(paths).length === 0) return
  await progress.step({ title: 'End leftovers of an earlier start' }, () => stopShop(paths))
}

function deleteDataAndLogs(paths: Paths): void {
  deleteData(paths)
  rmSync(paths.logs, { recursive: true, force: true })
  mkdirSync(paths.logs, { mode: 0o700 })
}

async function refuseTakenPorts(ports: Ports): Promise<void> {
  const taken = await takenPorts(ports)
  if (taken.length === 0) return
  throw new Error(
    `another process listens on port ${taken.join(', ')}. Stop it, or use other ports: PORT_BASE=31000 npm start`,
  )
}

type Found = Pick<Context, 'servers' | 'kafkaArchive' | 'jaegerIsMissing'> & { supervisor: string }

/**
 * Finds or builds what the start needs. A Jaeger that joins later has the place it will be built
 * in.
 */
async function ensureServers({ only, jaegerMayJoinLater }: StartOptions, progress: Progress): Promise<Found> {
  const names: PartName[] = only === undefined ? [...partNames] : [...only, 'process-compose']
  const jaegerIsMissing =
    jaegerMayJoinLater === true && names.includes('jaeger') && findPart('jaeger').from === 'nowhere'
  const [required, nginx] = await Promise.all([
    ensureParts(
      names.filter((name) => !(name === 'jaeger' && jaegerIsMissing)),
      progress,
    ),
    only === undefined ? ensureOptionalPart('nginx', progress) : undefined,
  ])
  const servers: Partial<Servers> = nginx === undefined ? required : { ...required, nginx }
  if (jaegerIsMissing) servers.jaeger = cachedPart('jaeger')
  const { kafka, 'process-compose': supervisor } = servers
  if (supervisor === undefined || supervisor.from === 'address') throw new Error('process-compose was not found')
  return {
    servers,
    kafkaArchive: kafka?.from === 'cache' ? await ensureKafkaArchive(kafka.path, progress) : undefined,
    jaegerIsMissing,
    supervisor: supervisor.path,
  }
}

async function superviseUntilReady(
  supervisor: string,
  processes: Process[],
  paths: Paths,
  progress: Progress,
): Promise<void> {
  const title = `Start ${processes.filter(({ startsLater }) => !startsLater).length} processes`
  try {
    await progress.step({ title, log: paths.logs }, async (note) => {
      const pid = startSupervisor(supervisor, paths)
      recordPids(paths.pids, [{ name: 'supervisor', pid }])
      await untilReady(paths, process.stderr.isTTY ? note : undefined)
    })
  } catch (error) {
    await stopShop(paths)
    throw error
  }
}

async function attach(paths: Paths, only: ServerName[] = []): Promise<Shop> {
  const ports = recordedPorts(paths)
  if (ports === undefined) throw new Error(`${paths.instance} is missing although the shop runs; stop it first`)
  const servers = findServers()
  await untilReady(paths)
  const running = (await processStates(paths)).map(({ name }) => name)
  const missing = only.filter((name) => servers[name]?.from !== 'address' && !running.includes(name))
  if (missing.length > 0) throw new Error(`"${paths.name}" runs without ${missing.join(', ')}; stop it first`)
  return createShop({ ports, paths, servers, secrets: loadSecrets(paths.secrets) }, true)
}

/** Finds the servers of a shop that runs; builds nothing. */
function findServers(): Partial<Servers> {
  const found = partNames.map((name) => [name, findPart(name)] as const)
  return Object.fromEntries(found.filter(([, { from }]) => from !== 'nowhere')) as Partial<Servers>
}

function createShop(context: Pick<Context, 'ports' | 'paths' | 'secrets' | 'servers'>, reused: boolean): Shop {
  const { ports, paths, secrets } = context
  return {
    instance: paths.name,
    ports,
    paths,
    secrets,
    urls: { ...rootUrls(context), kafkaBrokers: kafkaBrokers(context), openSearchUrl: openSearchUrl(context) },
    reused,
    process: (name) => processHandle(paths, name),
    stop: () => stopShop(paths),
  }
}
