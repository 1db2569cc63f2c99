// Prepares a shop for Tilt: the Tiltfile reads what this returns and declares a resource for each
// process.
import { existsSync, mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { lock } from '../parts/cache.ts'
import { poll } from '../poll.ts'
import type { Context } from '../processes/context.ts'
import { edgeFiles, edgeFolder } from '../processes/edge.ts'
import { importedFolders } from '../processes/imports.ts'
import { createPaths, type Paths } from '../processes/paths.ts'
import type { Ports } from '../processes/ports.ts'
import type { Health, Kind, Process } from '../processes/process.ts'
import { jaegerBuildName } from '../processes/processes.ts'
import { componentSockets } from '../processes/service-processes.ts'
import { serviceNames, services, type ServiceName } from '../processes/services.ts'
import { createProgress } from '../progress.ts'
import { findLeftovers, isAbandoned } from '../supervise/leftovers.ts'
import { tiltFolder, writeTiltFile } from '../supervise/tilt-files.ts'
import {
  findTilt,
  recordTilt,
  startInTilt,
  stopInTilt,
  tiltStates,
  triggerInTilt,
  type Tilt,
} from '../supervise/tilt.ts'
import { isRunning } from './readiness.ts'
import { prepareShop, type StartOptions } from './shop.ts'
import { prepareSocketFolders } from './sidecar-files.ts'
import { deleteData } from './stop.ts'

/** A shop as the Tiltfile sees it. It holds no secret: Tilt logs what it reads. */
export type TiltPlan = {
  instance: string
  api: string
  jaeger: string
  services: {
    name: ServiceName
    port: number
    protocol: 'grpc' | 'http'
    daprHttpPort: number
    /** Folder of its components' sockets. */
    sockets: string
  }[]
  processes: TiltProcess[]
}

export type TiltProcess = Pick<Process, 'name' | 'kind'> & {
  /** Its group in Tilt: a service's name, or `servers`. */
  label: string
  command: string[]
  health?: Health
  waitsFor: string[]
  /** Folders, an edit in which restarts it. */
  watches: string[]
  links: { url: string; name: string }[]
}

/**
 * Prepares the shop for a Tilt, or, if that Tilt already runs it, prepares it again without
 * touching what runs.
 * @throws Error that says what to do when something else runs the shop, and as `startShop`
 */
export async function prepareForTilt(
  options: Pick<StartOptions, 'instance' | 'portBase'>,
  tilt: Tilt,
): Promise<TiltPlan> {
  const paths = createPaths(options.instance)
  mkdirSync(paths.logs, { recursive: true, mode: 0o700 })
  const release = await lock(paths.lock, (holder) =>
    console.error(`Process ${holder} is already starting this shop: waiting …`),
  )
  const progress = createProgress()
  try {
    const whileItRuns = await isOurs(paths, tilt)
    if (!whileItRuns) await untilStopped(paths)
    const { context, processes } = await prepareShop(
      { ...options, whileItRuns, jaegerMayJoinLater: true },
      paths,
      progress,
      () => {
        if (!whileItRuns) recordTilt(paths, tilt)
      },
    )
    return planFor(processes, context)
  } finally {
    release()
    progress.close()
  }
}

/**
 * Empties a shop that a Tilt runs: stops its processes, deletes their data, prepares it again and
 * starts them, servers first.
 * @param emptyOthers empties the servers that are used by their address
 */
export async function resetInTilt(
  options: Pick<StartOptions, 'instance' | 'portBase'>,
  tilt: Tilt,
  emptyOthers: () => Promise<void>,
): Promise<void> {
  const paths = createPaths(options.instance)
  const { processes } = await prepareForTilt(options, tilt)
  const ofKind = (...kinds: Kind[]) => processes.filter(({ kind }) => kinds.includes(kind)).map(({ name }) => name)
  const stopAll = async (names: string[]) => {
    await stopInTilt(tilt, ...names)
    const pids = async () => (await tiltStates(paths)).filter((state) => names.includes(state.name) && state.is_running)
    await poll('the processes stop', async () => (await pids()).length === 0, { timeoutMs: 60_000 })
  }
  await stopAll(ofKind('sidecar'))
  await stopAll(ofKind('service', 'component'))
  await stopAll(ofKind('server'))
  deleteData(paths)
  await emptyOthers()
  await prepareForTilt(options, tilt)
  prepareSocketFolders(paths)
  await startInTilt(tilt, ...ofKind('server', 'component'))
  await triggerInTilt(tilt, 'setup')
  await startInTilt(tilt, ...ofKind('sidecar', 'service'))
  await triggerInTilt(tilt, 'logins')
}

/** Returns whether this Tilt already runs the shop. @throws Error when something else does */
async function isOurs(paths: Paths, tilt: Tilt): Promise<boolean> {
  const running = findTilt(paths)
  if (running?.pid === tilt.pid) return true
  const advice = 'or start another shop: PORT_BASE=31000 tilt up --port 10351'
  if (running !== undefined)
    throw new Error(
      `Tilt (process ${running.pid}) already runs this shop. Use that one, stop it with \`npm stop\`, ${advice}`,
    )
  if ((await isRunning(paths)) && !isAbandoned(paths.owner))
    throw new Error(`The shop already runs, by \`npm start\`. Stop it with \`npm stop\`, ${advice}`)
  return false
}

/** Tilt ends 2 s after Ctrl-C, when some processes are still stopping. */
async function untilStopped(paths: Paths): Promise<void> {
  const notes = tiltFolder(paths)
  if (!existsSync(notes) || !readdirSync(notes).some((name) => name.endsWith('.stopping'))) return
  await poll('the processes of the last Tilt stop', () => findLeftovers(paths).length === 0, {
    timeoutMs: 15_000,
  }).catch(() => {})
}

function planFor(processes: Process[], context: Context): TiltPlan {
  const { ports, paths } = context
  const names = new Set(processes.map(({ name }) => name))
  return {
    instance: paths.name,
    api: `http://127.0.0.1:${ports.api}`,
    jaeger: `http://127.0.0.1:${ports.jaegerQuery}`,
    services: serviceNames.map((name) => ({
      name,
      port: ports.services[name].app,
      protocol: services[name].protocol,
      daprHttpPort: ports.services[name].daprHttp,
      sockets: componentSockets(paths, name),
    })),
    processes: processes.map((process) => ({
      name: process.name,
      kind: process.kind,
      label: labelOf(process),
      command: writeTiltFile(process, processes, paths),
      ...(process.health && { health: process.health }),
      waitsFor: [
        ...(process.waitsFor.healthy ?? []),
        ...(process.waitsFor.done ?? []),
        ...(process.startsLater ? [jaegerBuildName] : []),
      ].filter((name) => names.has(name)),
      watches: watchedBy(process, context),
      links: linksOf(process, ports),
    })),
  }
}

function labelOf({ name }: Process): string {
  return serviceNames.find((service) => name === service || name.startsWith(`${service}-`)) ?? 'servers'
}

function watchedBy({ name, kind, command }: Process, context: Context): string[] {
  const { root } = context.paths
  // Its folder as a whole would not do: nginx writes to it.
  if (name === 'edge') return Object.keys(edgeFiles(context)).map((file) => join(edgeFolder(context), file))
  const program = command.at(-1) ?? ''
  return kind !== 'task' && program.endsWith('.ts') ? importedFolders(program, root) : []
}

function linksOf({ name, kind, ports: [first] }: Process, ports: Ports): TiltProcess['links'] {
  const at = (port: number | undefined, path = '') => `http://127.0.0.1:${port}${path}`
  const service = serviceNames.find((each) => name === each || name === `${each}-dapr`)
  if (name === 'jaeger') return [{ url: at(ports.jaegerQuery, '/search'), name: 'Jaeger' }]
  if (name === 'mailbox') return [{ url: at(ports.mailbox), name: 'Mailbox' }]
  if (kind === 'component') return [{ url: at(first, '/metrics'), name: 'metrics' }]
  if (service === undefined) return []
  const own = ports.services[service]
  if (kind === 'sidecar') return [{ url: at(own.daprMetrics, '/metrics'), name: 'metrics' }]
  const metrics = { url: at(own.admin, '/metrics'), name: 'metrics' }
  if (service !== 'gateway') return [metrics]
  return [
    { url: at(ports.api, '/v1/products'), name: 'API' },
    { url: at(ports.api, '/docs'), name: 'API docs' },
    metrics,
  ]
}
