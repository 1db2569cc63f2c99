import { chmodSync, mkdirSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { Server, ServerCredentials } from '@grpc/grpc-js'
import type { Logger } from 'pino'
import { collectDefaultMetrics, type Registry } from 'prom-client'
import { serveAdmin } from './admin.ts'
import { createCallMetrics } from './call-metrics.ts'
import type { Environment } from './environment.ts'
import { createInstances, type Closable, type ComponentDefinition, type Instances } from './instances.ts'
import type { Tracing } from './tracing.ts'
import { createUnary, type Unary } from './unary.ts'
import { createKeptSettings } from './kept-settings.ts'

/**
 * Room for values above gRPC's default of 4 MiB; beyond it a value is refused instead of filling
 * the memory.
 */
const maxMessageBytes = 32 * 1024 * 1024
const drainMs = 3_000

export type HostOptions<Settings, Instance extends Closable> = {
  /**
   * The component's type without its kind: the socket is `<type>.sock`, which daprd turns into
   * `state.<type>`.
   */
  type: string
  definition: ComponentDefinition<Settings, Instance>
  /** Adds the gRPC services for this kind of component. */
  addServices(server: Server, instances: Instances<Instance>, unary: Unary): void
  tracing?: Tracing | undefined
  environment: Environment
  registry: Registry
  log: Logger
}

/**
 * Serves one type of component on its socket, with instances that outlive a restart of this
 * process. Resolves when it listens. `close` drains calls, closes the instances and removes the
 * socket.
 */
export async function startHost<Settings, Instance extends Closable>(options: HostOptions<Settings, Instance>) {
  const { type, environment, log, registry, tracing } = options
  const folder = environment.socketsFolder
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  // In a pod the folder is a volume that belongs to root and is shared with the sidecar's container
  // only.
  if (statSync(folder).uid === process.getuid?.()) chmodSync(folder, 0o700)
  const socket = join(folder, `${type}.sock`)
  // daprd's discovery hangs on a socket that nobody answers, and listening on an existing file
  // fails.
  rmSync(socket, { force: true })

  // Hidden files: daprd warns of everything in the folder that is not a socket.
  const keptPath = (instance: string) => join(folder, `.${type}.${encodeURIComponent(instance)}`)
  const instances = createInstances(
    options.definition,
    createKeptSettings(join(folder, `.${type}.settings.json`)),
    { keptPath, tracing },
    log,
  )
  const server = new Server({
    'grpc.max_receive_message_length': maxMessageBytes,
    'grpc.max_send_message_length': maxMessageBytes,
    // Its statistics cost a sixth of a call and nobody reads them.
    'grpc.enable_channelz': 0,
  })
  // Nobody reads what is counted where no port is asked for.
  const metrics = environment.metricsPort === undefined ? undefined : createCallMetrics(registry)
  options.addServices(server, instances, createUnary({ log, metrics, tracing, attributesOf: instances.attributesOf }))
  await new Promise<void>((resolve, reject) => {
    server.bindAsync(`unix:${socket}`, ServerCredentials.createInsecure(), (error) =>
      error ? reject(error) : resolve(),
    )
  })
  chmodSync(socket, 0o600)
  instances.resume()

  const admin =
    environment.metricsPort === undefined
      ? undefined
      : await serveAdmin(environment.metricsPort, environment.metricsHost, registry, instances.states)
  if (admin) collectDefaultMetrics({ register: registry })
  log.info({ socket, metricsPort: admin?.port }, 'listening')

  let closing: Promise<void> | undefined
  async function close(): Promise<void> {
    const drained = new Promise<void>((resolve) => server.tryShutdown(() => resolve()))
    const timer = setTimeout(() => server.forceShutdown(), drainMs)
    await Promise.race([drained, new Promise((resolve) => setTimeout(resolve, drainMs + 200).unref())])
    clearTimeout(timer)
    await instances.close()
    await admin?.close()
    rmSync(socket, { force: true })
  }

  return {
    socket,
    close: () => (closing ??= close()),
  }
}
