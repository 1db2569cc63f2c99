// The one description of all processes: what `npm start`, the tests and the Tiltfile run. A pure
// function; nothing is started or written here.
import { join } from 'node:path'
import { daprdCommand } from '../daprd/command.ts'
import type { Paths } from './paths.ts'
import { serviceNames, type Ports, type ServiceName } from './ports.ts'
import type { Secrets } from './secrets.ts'
import { services, type ComponentType } from './services.ts'
import type { Servers } from '../parts/ensure.ts'

export type Kind = 'service' | 'sidecar' | 'component' | 'server' | 'task'

export type Health =
  | { http: { port: number; path: string; status: number } }
  /** The port takes connections. */
  | { tcp: number }

export type Process = {
  name: string
  kind: Kind
  command: string[]
  env: Record<string, string>
  cwd: string
  ports: number[]
  health?: Health
  /**
   * What has to be started, healthy, or (a task) done, before it is started. It is stopped before
   * all of these: a sidecar has to leave its consumer group while Kafka is there, and hand over its
   * last spans while Jaeger is.
   */
  waitsFor: { started?: string[]; healthy?: string[]; done?: string[] }
  /** How long it may take to end before it is killed. */
  stopSeconds: number
}

export type ServerName = 'mongodb' | 'mysql' | 'kafka' | 'jaeger' | 'sentry'

export type Context = {
  ports: Ports
  paths: Paths
  secrets: Secrets
  servers: Partial<Servers>
  /** Classes that Kafka's JVM need not load again. */
  kafkaArchive?: string | undefined
  /** PEM of the certificate authority that sentry made. */
  trustAnchors: string
  /**
   * Programs of the shop that exist (relative to the clone), so that a part that is yet to be
   * written is left out.
   */
  programs: (file: string) => boolean
  log: { level: string; format: string }
  /** What the operator sets for the gateway: whom CORS lets in, rate limits. */
  gatewaySettings: Record<string, string>
}

/**
 * In Kubernetes it is 35: Kafka's consumer drains for up to 30 s. Here every consumer is safe
 * against repeats, and Ctrl-C should not take half a minute.
 */
const daprGraceSeconds = 10

/**
 * All processes of a shop.
 * @param only these servers and nothing of the shop itself (for the tests that need real servers)
 */
export function describeProcesses(context: Context, only?: ServerName[]): Process[] {
  const servers = describeServers(context).filter(({ name }) => only === undefined || only.includes(name as ServerName))
  if (only !== undefined) return [...servers, setupTask(context, only)]
  return [
    ...servers,
    setupTask(context, ['mongodb', 'mysql', 'kafka']),
    ...(context.programs(sandboxProgram) ? [paymentSandbox(context)] : []),
    ...serviceNames
      .filter((name) => context.programs(serviceProgram(name)))
      .flatMap((name) => [...componentsOf(context, name), sidecarOf(context, name), serviceOf(context, name)]),
  ]
}

const sandboxProgram = 'examples/payment-provider/main.ts'
const serviceProgram = (name: string) => `services/${name}/main.ts`
const componentProgram = (type: string) => `pluggable/${type}/main.ts`

/**
 * Whose messages Kafka's clients and the components' relays may use; an address in the environment
 * comes first.
 */
export function kafkaBrokers({ servers, ports }: Pick<Context, 'servers' | 'ports'>): string {
  return servers.kafka?.from === 'address' ? servers.kafka.address : `127.0.0.1:${ports.kafka}`
}

export function otlpEndpoint({ servers, ports }: Pick<Context, 'servers' | 'ports'>): string {
  return servers.jaeger?.from === 'address' ? servers.jaeger.address : `http://127.0.0.1:${ports.otlp}`
}

/** The folder in which one sidecar finds its components' sockets. */
export function componentSockets(paths: Paths, service: ServiceName): string {
  return join(paths.sockets, service)
}

function node(context: Context, program: string): string[] {
  // kafkajs computes a negative timeout now and then; Node would warn of each.
  return [context.paths.node, '--disable-warning=TimeoutNegativeWarning', program]
}

function describeServers(context: Context): Process[] {
  const { ports, paths, servers } = context
  const server = (
    name: ServerName,
    command: string[],
    rest: Partial<Process> & { ports: number[]; health: Health },
  ): Process => ({
    name,
    kind: 'server',
    command,
    env: {},
    cwd: paths.state,
    waitsFor: {},
    stopSeconds: 30,
    ...rest,
  })
  const list: Process[] = []
  const local = (name: ServerName) => {
    const found = servers[name]
    return found !== undefined && found.from !== 'address' ? found : undefined
  }

  const mongodb = local('mongodb')
  if (mongodb) {
    list.push(
      server('mongodb', mongodCommand(context, mongodb.path), {
        ports: [ports.mongodb],
        health: { tcp: ports.mongodb },
      }),
    )
  }
  const mysql = local('mysql')
  if (mysql) {
    list.push(
      server('mysql', mysqldCommand(context, mysql.path), { ports: [ports.mysql], health: { tcp: ports.mysql } }),
    )
  }
  const kafka = local('kafka')
  if (kafka) {
    const command = [
      'java',
      '-Xmx512m',
      '-XX:+UseSerialGC',
      ...lateOptimisation,
      '-Dorg.slf4j.simpleLogger.defaultLogLevel=warn',
      ...(context.kafkaArchive ? [`-XX:SharedArchiveFile=${context.kafkaArchive}`] : []),
      '-cp',
      `${kafka.path}/*`,
      'kafka.Kafka',
      join(paths.generated, 'kafka.properties'),
    ]
    list.push(server('kafka', command, { ports: [ports.kafka, ports.kafkaController], health: { tcp: ports.kafka } }))
  }
  const jaeger = local('jaeger')
  if (jaeger) {
    list.push(
      server('jaeger', [jaeger.path, '--config', join(paths.generated, 'jaeger.yaml')], {
        ports: [ports.jaegerQuery, ports.otlp, ports.jaegerMetrics],
        health: { http: { port: ports.jaegerQuery, path: '/api/services', status: 200 } },
        // Asked to end it does nothing for long, and its traces are in memory: there is nothing to
        // save.
        stopSeconds: 1,
      }),
    )
  }
  const sentry = local('sentry')
  if (sentry) {
    list.push(
      server('sentry', sentryCommand(sentry.path, paths, ports), {
        ports: [ports.sentry, ports.sentryHealth],
        health: { http: { port: ports.sentryHealth, path: '/healthz', status: 200 } },
        stopSeconds: 5,
      }),
    )
  }
  return list
}

/**
 * Ten times the JVM's usual thresholds for its optimising compiler, so that it takes up only what
 * is really hot: it took 7.4 s of CPU while the shop started, and 4.7 s so, in which the rest of
 * the shop starts.
 */
const lateOptimisation = [
  '-XX:Tier4InvocationThreshold=50000',
  '-XX:Tier4MinInvocationThreshold=6000',
  '-XX:Tier4CompileThreshold=150000',
  '-XX:Tier4BackEdgeThreshold=400000',
]

/**
 * mongod needs a replica set for transactions, and a key file as soon as it has users; SecantusDB
 * is one by itself.
 */
function mongodCommand({ paths, ports }: Context, binary: string): string[] {
  const data = join(paths.data, 'mongodb')
  const port = String(ports.mongodb)
  if (/secantus/.test(binary)) {
    // --sync-on-commit: what was acknowledged is on disk, as with mongod's j:true.
    return [
      binary,
      '--host',
      '127.0.0.1',
      '--port',
      port,
      '--storage-path',
      data,
      '--auth',
      '--sync-on-commit',
      '--cache-size',
      '1G',
    ]
  }
  return [
    binary,
    '--bind_ip',
    '127.0.0.1',
    '--port',
    port,
    '--dbpath',
    data,
    '--replSet',
    'shop',
    '--keyFile',
    join(paths.generated, 'mongodb.key'),
    '--wiredTigerCacheSizeGB',
    '1',
  ]
}

export const mysqlTemporary = (paths: Paths) => join(paths.data, 'mysql-tmp')

function mysqldCommand({ paths, ports, servers }: Context, binary: string): string[] {
  const unpacked = servers.mysql?.from === 'cache'
  return [
    binary,
    '--no-defaults',
    ...(unpacked ? [`--basedir=${binary.replace(/\/bin\/mariadbd$/, '')}`] : []),
    // A database refuses to run as root unless it is told to.
    ...(process.getuid?.() === 0 ? ['--user=root'] : []),
    `--datadir=${join(paths.data, 'mysql')}`,
    `--tmpdir=${mysqlTemporary(paths)}`,
    `--port=${ports.mysql}`,
    '--bind-address=127.0.0.1',
    `--socket=${join(paths.sockets, 'mysql.sock')}`,
    `--pid-file=${join(paths.state, 'mysql.pid')}`,
    // Sets root's password before the first connection is taken.
    `--init-file=${join(paths.generated, 'mysql-init.sql')}`,
    '--skip-name-resolve',
    // On loopback TLS protects nothing, and MariaDB makes a new 4096-bit key at each start: 10 s
    // instead of 0.3 s.
    ...(isMariaDb(servers) ? ['--skip-ssl'] : []),
    '--innodb-flush-log-at-trx-commit=1',
    '--innodb-buffer-pool-size=256M',
    '--max-connections=500',
    '--character-set-server=utf8mb4',
  ]
}

export function isMariaDb(servers: Partial<Servers>): boolean {
  const { mysql } = servers
  return mysql !== undefined && mysql.from !== 'address' && /mariadb/i.test(mysql.printedVersion)
}

export function sentryCommand(binary: string, paths: Paths, ports: Pick<Ports, 'sentry' | 'sentryHealth'>): string[] {
  return [
    binary,
    '--config',
    join(paths.generated, 'sentry.yaml'),
    '--issuer-credentials',
    paths.sentry,
    '--listen-address',
    '127.0.0.1',
    '--port',
    String(ports.sentry),
    // Dapr 1.18 has this address as a flag and does not heed it: sentry's health, and its metrics,
    // would be on all of the machine's addresses. Health says nothing but "OK"; metrics are left
    // out.
    '--healthz-listen-address',
    '127.0.0.1',
    '--healthz-port',
    String(ports.sentryHealth),
    '--enable-metrics=false',
  ]
}

/**
 * Makes users, databases and topics. It asks the servers itself until they answer, so it waits for
 * nothing.
 */
function setupTask(context: Context, names: ServerName[]): Process {
  return {
    name: 'setup',
    kind: 'task',
    command: [...node(context, 'platform/start/setup.ts'), context.paths.state, ...names],
    env: { NODE_COMPILE_CACHE: context.paths.compileCache },
    cwd: context.paths.root,
    ports: [],
    waitsFor: {},
    stopSeconds: 5,
  }
}

function shopEnv(context: Context): Record<string, string> {
  return {
    OTEL_EXPORTER_OTLP_ENDPOINT: otlpEndpoint(context),
    LOG_LEVEL: context.log.level,
    LOG_FORMAT: context.log.format,
    NODE_COMPILE_CACHE: context.paths.compileCache,
  }
}

function paymentSandbox(context: Context): Process {
  const { ports, paths, secrets } = context
  return {
    name: 'payment-sandbox',
    kind: 'server',
    command: node(context, sandboxProgram),
    env: {
      ...shopEnv(context),
      PORT: String(ports.paymentSandbox),
      PROVIDER_API_KEY: secrets.providerApiKey,
      DATA_FILE: join(paths.data, 'payment-sandbox', 'ledger.db'),
    },
    cwd: paths.root,
    ports: [ports.paymentSandbox],
    health: { tcp: ports.paymentSandbox },
    waitsFor: { started: ['jaeger'] },
    stopSeconds: 5,
  }
}

const componentName = (service: string, type: ComponentType) => `${service}-${type}`

function componentsOf(context: Context, service: ServiceName): Process[] {
  const { ports, paths } = context
  return services[service].components.flatMap((type, index): Process[] => {
    if (!context.programs(componentProgram(type))) return []
    const port = ports.services[service].components[index as 0 | 1]
    return [
      {
        name: componentName(service, type),
        kind: 'component',
        command: node(context, componentProgram(type)),
        env: {
          ...shopEnv(context),
          DAPR_COMPONENTS_SOCKETS_FOLDER: componentSockets(paths, service),
          METRICS_PORT: String(port),
          COMPONENT_OWNER: service,
        },
        cwd: paths.root,
        ports: [port],
        health: { http: { port, path: '/metrics', status: 200 } },
        waitsFor: { started: ['mongodb', 'mysql', 'kafka', 'jaeger'] },
        stopSeconds: 10,
      },
    ]
  })
}

function sidecarOf(context: Context, service: ServiceName): Process {
  const { ports, paths, secrets, servers, trustAnchors } = context
  const own = ports.services[service]
  const { protocol, components } = services[service]
  const generated = join(paths.generated, 'dapr', service)
  const inClone = (...names: string[]) => join(paths.root, ...names)
  return {
    name: `${service}-dapr`,
    kind: 'sidecar',
    command: daprdCommand({
      daprd: servers.daprd?.from === 'address' || servers.daprd === undefined ? 'daprd' : servers.daprd.path,
      appId: service,
      app: { port: own.app, protocol },
      ports: { grpc: own.daprGrpc, http: own.daprHttp, internal: own.daprInternal, metrics: own.daprMetrics },
      configs: [join(paths.generated, 'dapr', 'config.yaml'), inClone('dapr-config', service, 'access.yaml')],
      resources: [
        inClone('components', 'shared'),
        ...(context.programs(`components/${service}`) ? [inClone('components', service)] : []),
        inClone('dapr-config'),
        inClone('dapr-config', service),
        join(generated, 'resources'),
      ],
      graceSeconds: daprGraceSeconds,
      sentryPort: ports.sentry,
    }),
    env: {
      NAMESPACE: 'default',
      DAPR_TRUST_ANCHORS: trustAnchors,
      DAPR_HOST_IP: '127.0.0.1',
      DAPR_COMPONENTS_SOCKETS_FOLDER: componentSockets(paths, service),
      DAPR_API_TOKEN: secrets.services[service].daprToken,
      APP_API_TOKEN: secrets.services[service].appToken,
      KAFKA_BROKERS: kafkaBrokers(context),
      OTEL_SERVICE_NAME: `${service}-dapr`,
    },
    cwd: paths.root,
    ports: [own.daprGrpc, own.daprHttp, own.daprInternal, own.daprMetrics],
    health: { http: { port: own.daprHttp, path: '/v1.0/healthz/outbound', status: 204 } },
    waitsFor: {
      started: [service, 'kafka', 'mysql', 'jaeger'],
      healthy: ['sentry', ...components.map((type) => componentName(service, type))],
      done: ['setup'],
    },
    stopSeconds: daprGraceSeconds + 5,
  }
}

function serviceOf(context: Context, service: ServiceName): Process {
  const { ports, paths, secrets } = context
  const own = ports.services[service]
  return {
    name: service,
    kind: 'service',
    command: node(context, serviceProgram(service)),
    env: {
      ...shopEnv(context),
      APP_PORT: String(own.app),
      ADMIN_PORT: String(own.admin),
      DAPR_GRPC_PORT: String(own.daprGrpc),
      DAPR_HTTP_PORT: String(own.daprHttp),
      DAPR_API_TOKEN: secrets.services[service].daprToken,
      APP_API_TOKEN: secrets.services[service].appToken,
      ...(service === 'gateway' ? context.gatewaySettings : {}),
    },
    cwd: paths.root,
    ports: [own.app, own.admin],
    health: { http: { port: own.admin, path: '/readyz', status: 200 } },
    waitsFor: { started: ['jaeger'] },
    stopSeconds: 10,
  }
}
