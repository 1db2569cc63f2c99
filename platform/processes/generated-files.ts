// The files that servers and sidecars read and that hold addresses of this machine or secrets:
// written anew at each start, readable by their owner only, never part of the repository.
import { mkdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { stringify } from 'yaml'
import { databaseUrls } from './database-urls.ts'
import { isMariaDb, otlpEndpoint, type Context } from './processes.ts'
import { serviceNames, type ServiceName } from './ports.ts'
import { writePrivate } from './secrets.ts'
import { services } from './services.ts'

/** Writes all of them. The folder is emptied first, so that nothing of an older layout is read. */
export function writeGeneratedFiles(context: Context): void {
  const { generated } = context.paths
  rmSync(generated, { recursive: true, force: true })
  mkdirSync(generated, { recursive: true, mode: 0o700 })
  writePrivate(join(generated, 'kafka.properties'), kafkaProperties(context))
  writePrivate(join(generated, 'mysql-init.sql'), mysqlInit(context))
  writePrivate(join(generated, 'mongodb.key'), context.secrets.mongodbRoot)
  writePrivate(join(generated, 'jaeger.yaml'), jaegerConfig(context))
  writePrivate(join(generated, 'sentry.yaml'), sentryConfig())
  writePrivate(join(generated, 'dapr', 'config.yaml'), sidecarConfig(context))
  for (const service of serviceNames) writeSidecarFiles(context, service)
}

function kafkaProperties({ ports, paths }: Context): string {
  return Object.entries({
    'process.roles': 'broker,controller',
    'node.id': 1,
    'controller.quorum.voters': `1@127.0.0.1:${ports.kafkaController}`,
    listeners: `PLAINTEXT://127.0.0.1:${ports.kafka},CONTROLLER://127.0.0.1:${ports.kafkaController}`,
    'advertised.listeners': `PLAINTEXT://127.0.0.1:${ports.kafka}`,
    'controller.listener.names': 'CONTROLLER',
    'log.dirs': join(paths.data, 'kafka'),
    // Topics are made on purpose: a consumer of a misspelt topic should fail.
    'auto.create.topics.enable': false,
    'offsets.topic.replication.factor': 1,
    // 50 is the default, and 50 files to open at each start for one broker's few groups.
    'offsets.topic.num.partitions': 5,
    'transaction.state.log.replication.factor': 1,
    'transaction.state.log.min.isr': 1,
    'share.coordinator.state.topic.replication.factor': 1,
    'share.coordinator.state.topic.min.isr': 1,
    'group.initial.rebalance.delay.ms': 0,
  })
    .map(([key, value]) => `${key}=${value}\n`)
    .join('')
}

/**
 * Run by the server before it takes a connection: afterwards root has a password, and nobody gets
 * in without one.
 */
function mysqlInit({ secrets, servers }: Context): string {
  const password = `IDENTIFIED BY '${secrets.mysqlRoot}'`
  const statements = [
    `ALTER USER 'root'@'localhost' ${password}`,
    `CREATE USER IF NOT EXISTS 'root'@'127.0.0.1' ${password}`,
    `ALTER USER 'root'@'127.0.0.1' ${password}`,
    `GRANT ALL PRIVILEGES ON *.* TO 'root'@'127.0.0.1' WITH GRANT OPTION`,
    ...(isMariaDb(servers) ? [`DROP USER IF EXISTS 'root'@'::1'`, `DROP USER IF EXISTS ''@'localhost'`] : []),
  ]
  return statements.map((statement) => `${statement};\n`).join('')
}

/** Jaeger 2 with traces in memory; only what the shop uses listens. */
function jaegerConfig({ ports }: Context): string {
  return stringify({
    service: {
      extensions: ['jaeger_storage', 'jaeger_query'],
      pipelines: { traces: { receivers: ['otlp'], processors: ['batch'], exporters: ['jaeger_storage_exporter'] } },
      telemetry: {
        resource: { 'service.name': 'jaeger' },
        logs: { level: 'warn' },
        metrics: {
          level: 'basic',
          readers: [{ pull: { exporter: { prometheus: { host: '127.0.0.1', port: ports.jaegerMetrics } } } }],
        },
      },
    },
    extensions: {
      jaeger_query: {
        storage: { traces: 'memory' },
        http: { endpoint: `127.0.0.1:${ports.jaegerQuery}` },
        // Its gRPC query API: any free port, nobody uses it.
        grpc: { endpoint: '127.0.0.1:0' },
      },
      jaeger_storage: { backends: { memory: { memory: { max_traces: 20_000 } } } },
    },
    receivers: { otlp: { protocols: { grpc: { endpoint: `127.0.0.1:${ports.otlp}` } } } },
    // Short, so that a trace can be looked at as soon as its order is confirmed.
    processors: { batch: { timeout: '200ms' } },
    exporters: { jaeger_storage_exporter: { trace_storage: 'memory' } },
  })
}

/** The defaults; but without a file sentry does not start. */
function sentryConfig(): string {
  return stringify({
    apiVersion: 'dapr.io/v1alpha1',
    kind: 'Configuration',
    metadata: { name: 'sentry' },
    spec: { mtls: { enabled: true, workloadCertTTL: '24h', allowedClockSkew: '15m' } },
  })
}

function writeSidecarFiles(context: Context, service: ServiceName): void {
  const folder = join(context.paths.generated, 'dapr', service)
  const secretsFile = join(folder, 'secrets.json')
  writePrivate(secretsFile, JSON.stringify(secretsOf(context, service)))
  writePrivate(
    join(folder, 'resources', 'secrets.yaml'),
    stringify({
      apiVersion: 'dapr.io/v1alpha1',
      kind: 'Component',
      metadata: { name: 'secrets' },
      spec: {
        type: 'secretstores.local.file',
        version: 'v1',
        metadata: [
          { name: 'secretsFile', value: secretsFile },
          { name: 'nestedSeparator', value: ':' },
        ],
      },
    }),
  )
  if (service === 'payments') {
    writePrivate(join(folder, 'resources', 'payment-provider.yaml'), paymentProvider(context))
  }
}

function secretsOf(context: Context, service: ServiceName): Record<string, string> {
  const urls = databaseUrls(context, service)
  const wants = services[service].databases
  return {
    ...(wants.includes('mongodb') ? { 'mongodb-uri': urls.mongodbUri } : {}),
    ...(wants.includes('mysql') ? { 'mysql-url': urls.mysqlUrl, 'mysql-dsn': urls.mysqlDsn } : {}),
    ...(service === 'users' ? { 'jwt-encryption-key': context.secrets.jwtEncryptionKey } : {}),
    ...(service === 'payments'
      ? {
          'provider-api-key': context.secrets.providerApiKey,
          'provider-authorization': `Bearer ${context.secrets.providerApiKey}`,
        }
      : {}),
  }
}

function paymentProvider({ ports }: Context): string {
  return stringify({
    apiVersion: 'dapr.io/v1alpha1',
    kind: 'HTTPEndpoint',
    metadata: { name: 'payment-provider' },
    spec: {
      baseUrl: process.env['PAYMENT_PROVIDER_URL'] ?? `http://127.0.0.1:${ports.paymentSandbox}`,
      headers: [
        { name: 'Authorization', secretKeyRef: { name: 'provider-authorization', key: 'provider-authorization' } },
      ],
    },
    auth: { secretStore: 'secrets' },
  })
}

/** dapr-config/configuration.yaml with this machine's addresses filled in. */
function sidecarConfig(context: Context): string {
  const template = readFileSync(join(context.paths.root, 'dapr-config', 'configuration.yaml'), 'utf8')
  const values: Record<string, string> = {
    OTLP_ADDRESS: new URL(otlpEndpoint(context)).host,
    NAME_RESOLUTION_DB: join(context.paths.state, 'name-resolution.db'),
  }
  return template.replace(/\$\{(\w+)\}/g, (whole, name: string) => {
    const value = values[name]
    if (value === undefined) throw new Error(`dapr-config/configuration.yaml asks for ${whole}, which is unknown`)
    return value
  })
}
