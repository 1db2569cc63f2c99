// A service's processes: the service, its sidecar, and its pluggable components.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { daprdCommand } from '../daprd/command.ts'
import { otlpEndpoint } from './addresses.ts'
import type { Context } from './context.ts'
import type { Paths } from './paths.ts'
import type { Process } from './process.ts'
import { secretVariables } from './service-secret.ts'
import { namespace, services, type ComponentType, type ServiceName } from './services.ts'

/**
 * In Kubernetes it is 35: Kafka's consumer drains for up to 30 s. Here every consumer is safe
 * against repeats, and Ctrl-C should not take half a minute.
 */
const daprGraceSeconds = 10

export function describeService(context: Context, service: ServiceName): Process[] {
  return [
    ...services[service].components.map((type, index) => describeComponent(context, service, type, index)),
    describeSidecar(context, service),
    describeServiceItself(context, service),
  ]
}

const componentName = (service: string, type: ComponentType) => `${service}-${type}`

/** The folder in which one sidecar finds its components' sockets. */
export function componentSockets(paths: Paths, service: ServiceName): string {
  return join(paths.sockets, service)
}

function describeComponent(context: Context, service: ServiceName, type: ComponentType, index: number): Process {
  const { ports, paths } = context
  const port = ports.services[service].components[index]
  if (port === undefined) throw new Error(`${service} has more pluggable components than ports in ports.ts`)
  return {
    name: componentName(service, type),
    kind: 'component',
    command: nodeCommand(context, `pluggable/${type}/main.ts`),
    env: {
      ...programEnv(context),
      DAPR_COMPONENTS_SOCKETS_FOLDER: componentSockets(paths, service),
      METRICS_PORT: String(port),
      COMPONENT_OWNER: service,
    },
    cwd: paths.root,
    ports: [port],
    health: { http: { port, path: '/readyz', status: 200 } },
    waitsFor: {},
    stopsBefore: ['mongodb', 'mysql', 'kafka', 'jaeger'],
    stopSeconds: 10,
  }
}

function describeSidecar(context: Context, service: ServiceName): Process {
  const { ports, paths, secrets, servers, trustAnchors } = context
  const own = ports.services[service]
  const { protocol, components } = services[service]
  const generated = join(paths.generated, 'dapr')
  const resources = [
    join(paths.root, 'components', 'shared'),
    join(paths.root, 'components', service),
    join(paths.root, 'dapr-config'),
    join(paths.root, 'dapr-config', service),
    join(generated, service, 'resources'),
  ]
  return {
    name: `${service}-dapr`,
    kind: 'sidecar',
    command: daprdCommand({
      daprd: servers.daprd === undefined || servers.daprd.from === 'address' ? 'daprd' : servers.daprd.path,
      appId: service,
      app: { port: own.app, protocol },
      ports: { grpc: own.daprGrpc, http: own.daprHttp, internal: own.daprInternal, metrics: own.daprMetrics },
      // A later file overrides the fields that it names.
      configs: [
        join(paths.root, 'dapr-config', 'configuration.yaml'),
        join(generated, 'this-machine.yaml'),
        join(paths.root, 'dapr-config', service, 'access.yaml'),
      ],
      // A service without components has no such folder, and daprd refuses one that does not exist.
      resources: resources.filter((folder) => folder.startsWith(generated) || existsSync(folder)),
      graceSeconds: daprGraceSeconds,
      sentryPort: ports.sentry,
    }),
    env: {
      NAMESPACE: namespace,
      DAPR_TRUST_ANCHORS: trustAnchors,
      DAPR_HOST_IP: '127.0.0.1',
      DAPR_COMPONENTS_SOCKETS_FOLDER: componentSockets(paths, service),
      DAPR_API_TOKEN: secrets.services[service].daprToken,
      APP_API_TOKEN: secrets.services[service].appToken,
      OTEL_SERVICE_NAME: `${service}-dapr`,
    },
    cwd: paths.root,
    ports: [own.daprGrpc, own.daprHttp, own.daprInternal, own.daprMetrics],
    health: { http: { port: own.daprHttp, path: '/v1.0/healthz/outbound', status: 204 } },
    waitsFor: {
      healthy: ['sentry', ...components.map((type) => componentName(service, type))],
      done: ['setup'],
    },
    stopsBefore: [service, 'kafka', 'mysql', 'opensearch', 'jaeger'],
    stopSeconds: daprGraceSeconds + 5,
  }
}

function describeServiceItself(context: Context, service: ServiceName): Process {
  const { ports, paths, secrets, env } = context
  const own = ports.services[service]
  const { daprToken, appToken, named } = secrets.services[service]
  const settings = services[service].settings.flatMap((name) => (env[name] ? [[name, env[name]] as const] : []))
  return {
    name: service,
    kind: 'service',
    command: nodeCommand(context, `services/${service}/main.ts`),
    env: {
      ...programEnv(context),
      APP_PORT: String(own.app),
      ADMIN_PORT: String(own.admin),
      DAPR_GRPC_PORT: String(own.daprGrpc),
      DAPR_HTTP_PORT: String(own.daprHttp),
      DAPR_API_TOKEN: daprToken,
      APP_API_TOKEN: appToken,
      ...Object.fromEntries(
        Object.entries(secretVariables(service)).map(([name, secret]) => [name, named[secret] ?? '']),
      ),
      ...Object.fromEntries(settings),
    },
    cwd: paths.root,
    ports: [own.app, own.admin],
    health: { http: { port: own.admin, path: '/readyz', status: 200 } },
    waitsFor: {},
    stopsBefore: ['jaeger'],
    stopSeconds: 10,
  }
}

/** Returns the command that runs a program of this clone. */
export function nodeCommand({ paths }: Context, program: string): string[] {
  // kafkajs computes a negative timeout now and then, and Node would warn each time.
  return [paths.node, '--disable-warning=TimeoutNegativeWarning', program]
}

/** What every program of this clone is given. */
export function programEnv(context: Context): Record<string, string> {
  return {
    OTEL_EXPORTER_OTLP_ENDPOINT: otlpEndpoint(context),
    LOG_LEVEL: context.env['LOG_LEVEL'] ?? 'info',
    LOG_FORMAT: context.env['LOG_FORMAT'] ?? 'json',
    ...(context.env['TRACES_PER_SECOND'] ? { TRACES_PER_SECOND: context.env['TRACES_PER_SECOND'] } : {}),
    NODE_COMPILE_CACHE: context.paths.compileCache,
  }
}
