import type { Server } from '@grpc/grpc-js'
import { Registry } from 'prom-client'
import { runProcess } from '#lib/lifecycle.ts'
import { createLogger } from '#lib/logger.ts'
import type { Closable, ComponentDefinition, Components } from './components.ts'
import { readEnvironment, serviceName } from './environment.ts'
import { startHost } from './host.ts'
import { quietLibraries } from './quiet-libraries.ts'
import { startTracing } from './tracing.ts'
import type { Unary } from './unary.ts'

/**
 * The main program of a component: reads the environment, serves the component, and drains it on
 * SIGTERM or SIGINT.
 */
export async function runComponent<Settings, Component extends Closable>({
  type,
  define,
  addServices,
}: {
  type: string
  define(registry: Registry): ComponentDefinition<Settings, Component>
  addServices(server: Server, components: Components<Component>, unary: Unary): void
}): Promise<void> {
  const environment = readEnvironment(process.env)
  const service = serviceName(type, environment)
  const log = await createLogger({ service, level: environment.logLevel, format: environment.logFormat })
  quietLibraries(log)
  await runProcess(log, async (onClose) => {
    const tracing = await startTracing(service, environment.otlpEndpoint)
    onClose('tracing', () => tracing?.close())
    const registry = new Registry()
    const host = await startHost({
      type,
      definition: define(registry),
      addServices,
      tracing,
      environment,
      registry,
      log,
    })
    onClose('host', host.close)
  })
}
