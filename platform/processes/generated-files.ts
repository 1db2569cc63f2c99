// The files that servers and sidecars read and that hold addresses of this machine or secrets. They
// are written at each start, only their owner can read them, and they are not in the repository.
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { stringify } from 'yaml'
import { kafkaBrokers, otlpEndpoint } from './addresses.ts'
import type { Context } from './context.ts'
import { edgeFiles, edgeFolder } from './edge.ts'
import { writePrivate } from './secrets.ts'
import { isMariaDb } from './servers.ts'
import { authorizationKey, kafkaSecret, serviceSecret } from './service-secret.ts'
import { serviceNames, services, type HttpEndpoint, type ServiceName } from './services.ts'

export function writeGeneratedFiles(context: Context): void {
  const { generated } = context.paths
  mkdirSync(generated, { recursive: true, mode: 0o700 })
  writePrivate(join(generated, 'kafka.properties'), kafkaProperties(context))
  writePrivate(join(generated, 'mysql-init.sql'), mysqlInit(context))
  writePrivate(join(generated, 'mongodb.key'), context.secrets.mongodbRoot)
  writePrivate(join(generated, 'jaeger.yaml'), jaegerConfig(context))
  writePrivate(join(generated, 'sentry.yaml'), sentryConfig())
  writePrivate(join(generated, 'dapr', 'this-machine.yaml'), thisMachine(context))
  if (context.servers.nginx) writeEdgeFiles(context)
  for (const service of serviceNames) writeSidecarFiles(context, service)
}

function writeEdgeFiles(context: Context): void {
  for (const [name, text] of Object.entries(edgeFiles(context))) writePrivate(join(edgeFolder(context), name), text)
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
    // Topics are created explicitly: a consumer of a misspelt topic should fail.
    'auto.create.topics.enable': false,
    'offsets.topic.replication.factor': 1,
    // The default of 50 means 50 files to open at each start, for one broker's few groups.
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
 * Runs before the server accepts connections: from then on every user, root included, has a
 * password.
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

/** Jaeger 2 with traces in memory. Only what the shop uses listens. */
function jaegerConfig({ ports }: Context): string {
  return stringify({
    service: {
      extensions: ['jaeger_storage', 'jaeger_query'],
      pipelines: {
        traces: { receivers: ['otlp'], processors: ['attributes', 'batch'], exporters: ['jaeger_storage_exporter'] },
      },
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
        // Its gRPC query API, which nothing uses: any free port.
        grpc: { endpoint: '127.0.0.1:0' },
      },
      jaeger_storage: { backends: { memory: { memory: { max_traces: 20_000 } } } },
    },
    receivers: { otlp: { protocols: { grpc: { endpoint: `127.0.0.1:${ports.otlp}` } } } },
    processors: {
      // daprd makes an attribute of each header that begins with "dapr-", and of this one too if
      // the request is refused: it may then be the token of another service.
      attributes: { actions: [{ key: 'dapr-api-token', action: 'delete' }] },
      // Short, so that a trace can be read as soon as its order is confirmed.
      batch: { timeout: '200ms' },
    },
    exporters: { jaeger_storage_exporter: { trace_storage: 'memory' } },
  })
}

/** The defaults: without a file sentry does not start. */
function sentryConfig(): string {
  return stringify({
    apiVersion: 'dapr.io/v1alpha1',
    kind: 'Configuration',
    metadata: { name: 'sentry' },
    spec: { mtls: { enabled: true, workloadCertTTL: '24h', allowedClockSkew: '15m' } },
  })
}

/** Overrides what dapr-config/configuration.yaml says for a cluster: daprd merges both. */
function thisMachine(context: Context): string {
  return stringify({
    apiVersion: 'dapr.io/v1alpha1',
    kind: 'Configuration',
    metadata: { name: 'this-machine' },
    spec: {
      tracing: {
        otel: {
          endpointAddress: new URL(otlpEndpoint(context)).host,
          // While Jaeger is missing, a sidecar that stops tries to send its last spans for this
          // long; the default of 10 s made each stop last as long.
          timeout: '2s',
        },
      },
      // Three look-ups a call, of 30 µs of CPU each. Of Dapr's others, mDNS needs multicast and
      // would mix two shops on one machine; nameformat needs one port for all and a DNS of names.
      nameResolution: {
        component: 'sqlite',
        version: 'v1',
        configuration: {
          connectionString: join(context.paths.state, 'name-resolution.db'),
          updateInterval: '60s',
          timeout: '5s',
          // Never: the default deletes living hosts after an hour, and a sidecar that does not find
          // itself exits.
          cleanupInterval: '0s',
        },
      },
    },
  })
}

function writeSidecarFiles(context: Context, service: ServiceName): void {
  const folder = join(context.paths.generated, 'dapr', service)
  const secretsFile = join(folder, 'secrets.json')
  const secrets = { [service]: serviceSecret(context, service), [kafkaSecret]: { brokers: kafkaBrokers(context) } }
  writePrivate(secretsFile, JSON.stringify(secrets))
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
          // A secret has several keys, as in Kubernetes.
          { name: 'multiValued', value: 'true' },
        ],
      },
    }),
  )
  for (const endpoint of services[service].httpEndpoints) {
    writePrivate(join(folder, 'resources', `${endpoint.name}.yaml`), httpEndpoint(context, service, endpoint))
  }
}

function httpEndpoint({ env, ports }: Context, service: ServiceName, endpoint: HttpEndpoint): string {
  return stringify({
    apiVersion: 'dapr.io/v1alpha1',
    kind: 'HTTPEndpoint',
    metadata: { name: endpoint.name },
    spec: {
      baseUrl: env[endpoint.addressVariable] ?? `http://127.0.0.1:${ports[endpoint.server]}`,
      ...(endpoint.bearerSecret
        ? { headers: [{ name: 'Authorization', secretKeyRef: { name: service, key: authorizationKey(endpoint) } }] }
        : {}),
    },
    auth: { secretStore: 'secrets' },
  })
}
