// The servers that a shop runs itself: databases, broker, collector of traces, certificate
// authority.
import { dirname, join } from 'node:path'
import type { Servers } from '../parts/ensure.ts'
import { isSecantus } from './addresses.ts'
import type { Context } from './context.ts'
import type { Paths } from './paths.ts'
import type { Ports } from './ports.ts'
import type { Health, Process } from './process.ts'

export const serverNames = ['mongodb', 'mysql', 'kafka', 'opensearch', 'jaeger', 'sentry'] as const

export type ServerName = (typeof serverNames)[number]

/** Those that hold data: what tests of services need. */
export const dataServers: ServerName[] = ['mongodb', 'mysql', 'kafka', 'opensearch']

/** Returns the servers' processes. One that is used by its address is no process of ours. */
export function describeServers(context: Context): Process[] {
  return serverNames.flatMap((name) => {
    const found = context.servers[name]
    return found === undefined || found.from === 'address' ? [] : [describe[name](context, found.path)]
  })
}

const describe: Record<ServerName, (context: Context, program: string) => Process> = {
  mongodb: (context, program) =>
    server(context, {
      name: 'mongodb',
      command: mongodCommand(context, program),
      ports: [context.ports.mongodb],
      health: { tcp: context.ports.mongodb },
    }),

  mysql: (context, program) =>
    server(context, {
      name: 'mysql',
      command: mysqldCommand(context, program),
      ports: [context.ports.mysql],
      health: { tcp: context.ports.mysql },
    }),

  kafka: (context, libs) =>
    server(context, {
      name: 'kafka',
      command: kafkaCommand(context, libs),
      ports: [context.ports.kafka, context.ports.kafkaController],
      health: { tcp: context.ports.kafka },
    }),

  opensearch: (context, classes) =>
    server(context, {
      name: 'opensearch',
      command: openSearchCommand(context, classes),
      ports: [context.ports.opensearch, context.ports.opensearchTransport],
      health: { http: { port: context.ports.opensearch, path: '/_cluster/health', status: 200 } },
    }),

  jaeger: (context, program) =>
    server(context, {
      name: 'jaeger',
      command: [program, '--config', join(context.paths.generated, 'jaeger.yaml')],
      ports: [context.ports.jaegerQuery, context.ports.otlp, context.ports.jaegerMetrics],
      health: { http: { port: context.ports.jaegerQuery, path: '/api/services', status: 200 } },
      // No spans of its own: it would send them to the default port, where nothing listens.
      env: { OTEL_TRACES_SAMPLER: 'always_off' },
      startsLater: context.jaegerIsMissing,
      // It does nothing for long after SIGTERM. Its traces are in memory: there is nothing to save.
      stopSeconds: 1,
    }),

  sentry: (context, program) =>
    server(context, {
      name: 'sentry',
      command: sentryCommand(program, context.paths, context.ports),
      ports: [context.ports.sentry, context.ports.sentryHealth],
      health: { http: { port: context.ports.sentryHealth, path: '/healthz', status: 200 } },
      stopSeconds: 5,
    }),
}

function server(
  { paths }: Context,
  own: Partial<Process> & { name: ServerName; command: string[]; ports: number[]; health: Health },
): Process {
  return { kind: 'server', env: {}, cwd: paths.state, waitsFor: {}, stopsBefore: [], stopSeconds: 30, ...own }
}

/**
 * Ten times the JVM's usual thresholds for its optimising compiler, so that it compiles only what
 * is really hot: 4.7 s of CPU instead of 7.4 s while the shop starts, which is CPU that the rest of
 * the shop needs then.
 */
const lateOptimisation = [
  '-XX:Tier4InvocationThreshold=50000',
  '-XX:Tier4MinInvocationThreshold=6000',
  '-XX:Tier4CompileThreshold=150000',
  '-XX:Tier4BackEdgeThreshold=400000',
]

function kafkaCommand({ paths, kafkaArchive }: Context, libs: string): string[] {
  return [
    'java',
    '-Xmx512m',
    '-XX:+UseSerialGC',
    ...lateOptimisation,
    '-Dorg.slf4j.simpleLogger.defaultLogLevel=warn',
    ...(kafkaArchive ? [`-XX:SharedArchiveFile=${kafkaArchive}`] : []),
    '-cp',
    `${libs}/*`,
    'kafka.Kafka',
    join(paths.generated, 'kafka.properties'),
  ]
}

/** One node. Its heap is for 1,000,000 products; its files are cached by the system. */
function openSearchCommand({ paths, ports }: Context, classes: string): string[] {
  const settings = {
    'cluster.name': 'shop',
    'node.name': 'shop',
    'discovery.type': 'single-node',
    'network.host': '127.0.0.1',
    'http.port': ports.opensearch,
    'transport.port': ports.opensearchTransport,
    'path.home': join(paths.state, 'opensearch'),
    'path.data': join(paths.data, 'opensearch'),
    // A developer's disk is often 90% full, which would make every index read-only.
    'cluster.routing.allocation.disk.threshold_enabled': false,
  }
  return [
    'java',
    '-Xms256m',
    '-Xmx1g',
    '-XX:+UseSerialGC',
    '-Dlog4j2.level=error',
    '-cp',
    `${classes}:${join(dirname(classes), 'libs', '*')}`,
    'SearchNode',
    ...Object.entries(settings).map(([name, value]) => `${name}=${value}`),
  ]
}

/**
 * mongod needs a replica set for transactions, and a key file once it has users. SecantusDB always
 * is a replica set.
 */
function mongodCommand({ paths, ports }: Context, program: string): string[] {
  const data = join(paths.data, 'mongodb')
  if (isSecantus(program)) {
    return [
      program,
      '--host=127.0.0.1',
      `--port=${ports.mongodb}`,
      `--storage-path=${data}`,
      '--auth',
      // What was acknowledged is on disk, as with mongod's j:true.
      '--sync-on-commit',
      '--cache-size=1G',
    ]
  }
  return [
    program,
    '--bind_ip=127.0.0.1',
    `--port=${ports.mongodb}`,
    `--dbpath=${data}`,
    '--replSet=shop',
    `--keyFile=${join(paths.generated, 'mongodb.key')}`,
    '--wiredTigerCacheSizeGB=1',
  ]
}

export const mysqlTemporary = (paths: Paths) => join(paths.data, 'mysql-tmp')

function mysqldCommand({ paths, ports, servers }: Context, program: string): string[] {
  const isUnpacked = servers.mysql?.from === 'cache'
  return [
    program,
    '--no-defaults',
    ...(isUnpacked ? [`--basedir=${program.replace(/\/bin\/mariadbd$/, '')}`] : []),
    // It refuses to run as root unless asked to.
    ...(process.getuid?.() === 0 ? ['--user=root'] : []),
    `--datadir=${join(paths.data, 'mysql')}`,
    `--tmpdir=${mysqlTemporary(paths)}`,
    `--port=${ports.mysql}`,
    '--bind-address=127.0.0.1',
    `--socket=${join(paths.sockets, 'mysql.sock')}`,
    `--pid-file=${join(paths.state, 'mysql.pid')}`,
    // Sets root's password before the first connection is accepted.
    `--init-file=${join(paths.generated, 'mysql-init.sql')}`,
    '--skip-name-resolve',
    // On loopback TLS protects nothing, and MariaDB creates a new 4096-bit key at each start: 10 s
    // instead of 0.3 s.
    // The second: no line for each connection that only sees whether it is up.
    ...(isMariaDb(servers) ? ['--skip-ssl', '--log-warnings=1'] : []),
    '--innodb-flush-log-at-trx-commit=1',
    '--innodb-buffer-pool-size=256M',
    '--max-connections=500',
    '--character-set-server=utf8mb4',
  ]
}

export function isMariaDb({ mysql }: Partial<Servers>): boolean {
  return mysql !== undefined && mysql.from !== 'address' && /mariadb/i.test(mysql.printedVersion)
}

export function sentryCommand(program: string, paths: Paths, ports: Pick<Ports, 'sentry' | 'sentryHealth'>): string[] {
  return [
    program,
    `--config=${join(paths.generated, 'sentry.yaml')}`,
    `--issuer-credentials=${paths.sentry}`,
    '--listen-address=127.0.0.1',
    `--port=${ports.sentry}`,
    // Dapr 1.18 ignores this flag and serves health and metrics on all of the machine's addresses.
    // Health says nothing but "OK"; metrics are turned off.
    '--healthz-listen-address=127.0.0.1',
    `--healthz-port=${ports.sentryHealth}`,
    '--enable-metrics=false',
  ]
}
