import { chmodSync, mkdirSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { Server, ServerCredentials } from '@grpc/grpc-js'
import type { Registry } from 'prom-client'
import { serveAdmin } from '#lib/admin-server.ts'
import type { Logger } from '#lib/logger.ts'
import { createCallMetrics } from './call-metrics.ts'
import { createComponents, type Closable, type ComponentDefinition, type Components } from './components.ts'
import type { Environment } from './environment.ts'
import { createKeptSettings } from './kept-settings.ts'
import type { Tracing } from './tracing.ts'
import { createUnary, type Unary } from './unary.ts'

/**
 * Allows values above gRPC's default of 4 MiB; larger ones are refused instead of filling the
 * memory.
 */
const maxMessageBytes = 32 * 1024 * 1024
const drainMs = 3_000

export type HostOptions<Settings, Component extends Closable> = {
  /**
   * The component type without its kind: the socket is `<type>.sock`, from which daprd makes
   * `state.<type>`.
   */
  type: string
  definition: ComponentDefinition<Settings, Component>
  /** Adds the gRPC services of this kind of component. */
  addServices(server: Server, components: Components<Component>, unary: Unary): void
  tracing?: Tracing | undefined
  environment: Environment
  registry: Registry
  log: Logger
}

/**
 * Serves one component type on its socket; its Components are reopened after a restart of this
 * process. Resolves once it listens. `close` drains calls, closes the Components and removes the
 * socket.
 */
export async function startHost<Settings, Component extends Closable>(options: HostOptions<Settings, Component>) {
  const { type, environment, log, registry, tracing } = options
  const { metricsPort, metricsHost, socketsFolder } = environment
  mkdirSync(socketsFolder, { recursive: true, mode: 0o700 })
  // In a pod the folder is a volume that root owns, shared only with the sidecar's container.
  if (statSync(socketsFolder).uid === process.getuid?.()) chmodSync(socketsFolder, 0o700)
  const socket = join(socketsFolder, `${type}.sock`)
  // A stale socket makes daprd's discovery hang, and listening on an existing file fails.
  rmSync(socket, { force: true })

  // Hidden files: daprd warns of everything in the folder that is not a socket.
  const keptPath = (name: string) => join(socketsFolder, `.${type}.${encodeURIComponent(name)}`)
  const components = createComponents(
    options.definition,
    createKeptSettings(join(socketsFolder, `.${type}.settings.json`)),
    { keptPath, tracing },
    log,
  )
  const server = new Server({
    'grpc.max_receive_message_length': maxMessageBytes,
    'grpc.max_send_message_length': maxMessageBytes,
    // Its statistics cost a sixth of a call and nothing reads them.
    'grpc.enable_channelz': 0,
  })
  // Without a port nothing reads the metrics.
  const metrics = metricsPort === undefined ? undefined : createCallMetrics(registry)
  options.addServices(server, components, createUnary({ log, metrics, tracing, attributesOf: components.attributesOf }))
  await new Promise<void>((resolve, reject) => {
    server.bindAsync(`unix:${socket}`, ServerCredentials.createInsecure(), (error) =>
      error ? reject(error) : resolve(),
    )
  })
  chmodSync(socket, 0o600)
  components.resume()

  // Ready means that the socket listens, since daprd sends Init only after that. A Component that
  // cannot reach its server is shown in the body and in the metrics, not as "not ready".
  const readiness = () => ({ ready: true, components: components.states() })
  const closeAdmin =
    metricsPort === undefined ? undefined : await serveAdmin(metricsPort, readiness, { host: metricsHost, registry })
  log.info({ socket, metricsPort: closeAdmin?.port }, 'listening')

  return {
    socket,
    async close(): Promise<void> {
      const drained = new Promise<void>((resolve) => server.tryShutdown(() => resolve()))
      const timer = setTimeout(() => server.forceShutdown(), drainMs)
      await Promise.race([drained, new Promise((resolve) => setTimeout(resolve, drainMs + 200).unref())])
      clearTimeout(timer)
      await components.close()
      closeAdmin?.()
      rmSync(socket, { force: true })
    },
  }
}
