import type { Server } from '@grpc/grpc-js'
import { Registry } from 'prom-client'
import { readEnvironment, serviceName } from './environment.ts'
import { startHost } from './host.ts'
import type { Closable, ComponentDefinition, Instances } from './instances.ts'
import { createComponentLog, quietLibraries } from './log.ts'
import { startTracing } from './tracing.ts'
import type { Unary } from './unary.ts'

/**
 * The main program of a component: environment, log, host, and a graceful end on SIGTERM or SIGINT.
 */
export async function runComponent<Settings, Instance extends Closable>(component: {
  type: string
  define(registry: Registry): ComponentDefinition<Settings, Instance>
  addServices(server: Server, instances: Instances<Instance>, unary: Unary): void
}): Promise<void> {
  const environment = readEnvironment(process.env)
  const log = createComponentLog(component.type, environment)
  quietLibraries(log)
  const tracing = await startTracing(serviceName(component.type, environment), environment.otlpEndpoint)
  const registry = new Registry()
  const host = await startHost({
    type: component.type,
    definition: component.define(registry),
    addServices: component.addServices,
    tracing,
    environment,
    registry,
    log,
  })
  const end = (signal: NodeJS.Signals) => {
    log.info({ signal }, 'stopping')
    setTimeout(() => process.exit(1), 10_000).unref()
    const closed = host.close().then(() => tracing?.close())
    closed.then(
      () => process.exit(0),
      (error: unknown) => {
        log.error({ err: error }, 'did not stop cleanly')
        process.exit(1)
      },
    )
  }
  process.once('SIGTERM', end)
  process.once('SIGINT', end)
}
