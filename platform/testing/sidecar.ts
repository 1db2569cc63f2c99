// Runs a real sidecar for a test or a benchmark, without mTLS and with only the given components.
import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createDapr, type Dapr } from '#lib/dapr.ts'
import { startChild } from '../child.ts'
import { daprdCommand } from '../daprd/command.ts'
import { createProgress } from '../progress.ts'
import { ensureParts } from '../parts/ensure.ts'
import { freePorts } from '../free-ports.ts'

export type DaprComponent = { name: string; type: string; metadata: Record<string, string> }

/** A program to start and its whole environment. */
export type Command = { file: string; args: string[]; env: NodeJS.ProcessEnv }

export type SidecarOptions = {
  appId: string
  components: DaprComponent[]
  /** Further Dapr resources, as YAML. */
  resources?: string[]
  /** The socket folder of pluggable components that already listen. */
  folder?: string
  /** daprd's path; found or built unless given. */
  daprd?: string
}

export type PreparedSidecar = {
  command: Command
  grpcPort: number
  httpPort: number
  apiToken: string
  /** Checks that its components are ready. Throws while it does not respond. */
  isHealthy: () => Promise<boolean>
  /** Removes its files. */
  remove: () => void
}

export type Sidecar = {
  dapr: Dapr
  /** For clients other than ours. */
  grpcPort: number
  httpPort: number
  apiToken: string
  pid: number
  close: () => Promise<void>
}

/**
 * Writes a sidecar's files and picks its ports; starts nothing. The command may be run again after
 * it has ended.
 */
export async function prepareSidecar({
  appId,
  components,
  resources = [],
  folder: socketFolder,
  daprd,
}: SidecarOptions): Promise<PreparedSidecar> {
  const program = daprd ?? (await findDaprd())
  const folder = mkdtempSync(join(tmpdir(), 'sidecar-'))
  for (const [i, resource] of [...components.map(componentResource), ...resources].entries()) {
    writeFileSync(join(folder, `${i}.yaml`), resource, { mode: 0o600 })
  }
  const nameResolution = {
    component: 'sqlite',
    version: 'v1',
    configuration: { connectionString: join(folder, 'names.db') },
  }
  const configuration = join(folder, 'configuration.json')
  writeFileSync(
    configuration,
    JSON.stringify({
      apiVersion: 'dapr.io/v1alpha1',
      kind: 'Configuration',
      metadata: { name: 'test' },
      spec: { nameResolution },
    }),
  )
  const [grpcPort = 0, httpPort = 0, internalPort = 0, metricsPort = 0] = await freePorts(4)
  const apiToken = randomUUID()
  const [file = '', ...args] = daprdCommand({
    daprd: program,
    appId,
    ports: { grpc: grpcPort, http: httpPort, internal: internalPort, metrics: metricsPort },
    configs: [configuration],
    resources: [folder],
    graceSeconds: 1,
    logLevel: 'warn',
  })
  const env = {
    PATH: process.env['PATH'],
    NAMESPACE: 'default',
    DAPR_API_TOKEN: apiToken,
    DAPR_COMPONENTS_SOCKETS_FOLDER: socketFolder ?? folder,
    DAPR_HOST_IP: '127.0.0.1',
  }
  return {
    command: { file, args, env },
    grpcPort,
    httpPort,
    apiToken,
    isHealthy: async () => (await fetch(`http://127.0.0.1:${httpPort}/v1.0/healthz/outbound`)).ok,
    remove: () => rmSync(folder, { recursive: true, force: true }),
  }
}

/**
 * Starts a sidecar and waits until it is healthy.
 * @throws Error with the end of its output when it is not within 30 s
 */
export async function startSidecar(options: SidecarOptions): Promise<Sidecar> {
  const { command, grpcPort, httpPort, apiToken, isHealthy, remove } = await prepareSidecar(options)
  const child = startChild(command.file, command.args, { env: command.env })
  const dapr = createDapr({ grpcPort, httpPort, apiToken })
  const close = async () => {
    dapr.close()
    // Whatever a built-in outbox has not sent after 3 s is of no interest.
    await child.kill('SIGTERM', 3_000)
    remove()
  }
  try {
    await child.ready('the sidecar is healthy', isHealthy)
  } catch (error) {
    await close()
    throw error
  }
  return { dapr, grpcPort, httpPort, apiToken, pid: child.pid, close }
}

async function findDaprd(): Promise<string> {
  const progress = createProgress()
  const { daprd } = await ensureParts(['daprd'], progress).finally(() => progress.close())
  if (daprd.from === 'address') throw new Error('daprd must be a program, not an address')
  return daprd.path
}

/** Renders a Component. JSON is valid YAML. */
function componentResource({ name, type, metadata }: DaprComponent): string {
  const entries = Object.entries(metadata).map(([field, value]) => ({ name: field, value }))
  return JSON.stringify({
    apiVersion: 'dapr.io/v1alpha1',
    kind: 'Component',
    metadata: { name },
    spec: { type, version: 'v1', metadata: entries },
  })
}
