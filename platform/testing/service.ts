// Runs one service with a real sidecar, components and databases, for its `*.int.test.ts`.
import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Kafka, logLevel } from 'kafkajs'
import { MongoClient } from 'mongodb'
import { createConnection } from 'mysql2/promise'
import { parse, stringify } from 'yaml'
import { createDapr, type CallOptions, type Dapr, type RpcClient } from '#lib/dapr.ts'
import { startChild, type Child } from '../child.ts'
import { daprdCommand } from '../daprd/command.ts'
import { poll } from '../poll.ts'
import { createProgress } from '../progress.ts'
import { ensureParts } from '../parts/ensure.ts'
import { kafkaSecret, secretVariables } from '../processes/service-secret.ts'
import { services, type ComponentType, type ServiceName } from '../processes/services.ts'
import { socketOf } from './component-process.ts'
import { freePorts } from '../free-ports.ts'

const root = join(import.meta.dirname, '..', '..')

export type RunningService = {
  /** A connection to the service's own sidecar, like the service's. */
  dapr: Dapr
  /**
   * The service's RPCs, through its sidecar. They may take 15 s instead of 2, for busy machines.
   */
  client: <D>(definition: D) => RpcClient<D>
  /** Serves /readyz and /metrics. */
  adminUrl: string
  /** The name of its databases, on TEST_MONGODB_URI and TEST_MYSQL_URL. */
  database: string
  /** Ends the service's own process, as Kubernetes does first when a pod ends. */
  stopService: () => Promise<void>
  /** Kills the service's own process like a crash; `startService` starts it again. */
  killService: () => Promise<void>
  startService: () => Promise<void>
  /** The name that a topic of the service's YAML has in this run. */
  topic: (name: string) => string
  /** Kills a component like a crash; `start` starts it again. */
  component: (type: ComponentType) => { kill: () => Promise<void>; start: () => Promise<void> }
  /** Stops everything and drops its databases. */
  close: () => Promise<void>
}

export type ServiceOptions = {
  /** Settings of the service. */
  env?: Record<string, string>
  /** Further Dapr resources. */
  resources?: object[]
  /** Subscribes to topics, which are the service's own in this run. */
  events?: boolean
}

/**
 * Starts a service, its components and its sidecar, with new databases on the servers of
 * TEST_MONGODB_URI, TEST_MYSQL_URL and TEST_KAFKA_BROKERS, and waits until it is ready. Components
 * are those in components/<service>/. There is no mTLS and no access control: tests of the whole
 * shop cover those.
 * @throws Error with the end of all output when it does not become ready within 90 s
 */
export async function startService(name: ServiceName, options: ServiceOptions = {}): Promise<RunningService> {
  const folder = mkdtempSync(join(tmpdir(), `${name}-`))
  const sockets = join(folder, 'sockets')
  const resources = join(folder, 'resources')
  for (const each of [sockets, resources]) mkdirSync(each)
  const children = new Map<string, Child>()
  const database = `test_${name}_${randomBytes(5).toString('hex')}`
  const [app, admin, daprGrpc, daprHttp, daprInternal, daprMetrics] = (await freePorts(6)) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ]
  const { daprd } = await ensureParts(['daprd'], createProgress())

  await createDatabase(database)
  writeFileSync(join(folder, 'secrets.json'), JSON.stringify(secretsOf(name, database)), { mode: 0o600 })
  const topic = (of: string) => (options.events ? `${database}_${of}` : of)
  if (options.events) await createTopics(name, topic)
  writeResources(name, folder, database, { topic, ...options })

  const env = {
    PATH: process.env['PATH'],
    LOG_LEVEL: 'info',
    DAPR_COMPONENTS_SOCKETS_FOLDER: sockets,
    DAPR_API_TOKEN: 'dapr',
    APP_API_TOKEN: 'app',
  }
  const start = (part: string, command: string, args: string[], more: Record<string, string | undefined>) => {
    const child = startChild(command, args, { cwd: root, env: { ...env, ...more } })
    children.set(part, child)
    return child
  }

  const startComponent = async (type: ComponentType) => {
    const socket = socketOf(type, sockets)
    rmSync(socket, { force: true })
    const component = start(type, process.execPath, [`pluggable/${type}/main.ts`], { COMPONENT_OWNER: name })
    await component.ready(`${type} listens`, () => existsSync(socket), 90_000)
  }

  const startProgram = () =>
    start('service', process.execPath, [`services/${name}/main.ts`], {
      APP_PORT: String(app),
      ADMIN_PORT: String(admin),
      DAPR_GRPC_PORT: String(daprGrpc),
      DAPR_HTTP_PORT: String(daprHttp),
      ...Object.fromEntries(
        Object.keys(secretVariables(name)).map((variable) => [variable, randomBytes(32).toString('base64')]),
      ),
      ...options.env,
    })
  const untilReady = async () => {
    const isReady = async () => {
      const ended = [...children].find(([, child]) => child.end())
      if (ended) throw new Ended(`${ended[0]} ended`)
      return (await fetch(`http://127.0.0.1:${admin}/readyz`)).ok
    }
    await poll(`${name} is ready`, isReady, { timeoutMs: 90_000, isFatal: (error) => error instanceof Ended })
  }

  const dapr = createDapr({ grpcPort: daprGrpc, httpPort: daprHttp, apiToken: env.DAPR_API_TOKEN })
  const close = async () => {
    dapr.close()
    for (const child of [...children.values()].toReversed()) await child.kill()
    rmSync(folder, { recursive: true, force: true })
    await dropDatabase(database)
  }

  try {
    await Promise.all(services[name].components.map(startComponent))
    const [file = '', ...args] = daprdCommand({
      daprd: daprd.from === 'address' ? 'daprd' : daprd.path,
      appId: name,
      app: { port: app, protocol: services[name].protocol },
      ports: { grpc: daprGrpc, http: daprHttp, internal: daprInternal, metrics: daprMetrics },
      configs: [join(folder, 'config.yaml')],
      resources: [resources],
      graceSeconds: 1,
    })
    start('sidecar', file, args, { DAPR_HOST_IP: '127.0.0.1' })
    startProgram()
    await untilReady()
  } catch (error) {
    const tails = [...children].map(([part, child]) => `${part}:\n${child.tail().split('\n').slice(-10).join('\n')}`)
    await close().catch(() => {})
    throw new Error(`${(error as Error).message}\n${tails.join('\n')}`, { cause: error })
  }
  type Rpc = (request: unknown, options?: CallOptions) => Promise<unknown>
  return {
    dapr,
    client: <D>(definition: D) => {
      const rpcs = Object.entries(dapr.client(definition, name) as Record<string, Rpc>)
      return Object.fromEntries(
        rpcs.map(([rpc, call]): [string, Rpc] => [
          rpc,
          (request, options) => call(request, { timeoutMs: 15_000, ...options }),
        ]),
      ) as RpcClient<D>
    },
    adminUrl: `http://127.0.0.1:${admin}`,
    database,
    stopService: async () => void (await children.get('service')?.kill('SIGTERM')),
    killService: async () => void (await children.get('service')?.kill('SIGKILL')),
    async startService() {
      startProgram()
      await untilReady()
    },
    topic,
    component: (type) => ({
      kill: async () => void (await children.get(type)?.kill('SIGKILL')),
      start: () => startComponent(type),
    }),
    close,
  }
}

class Ended extends Error {}

function secretsOf(name: ServiceName, database: string): Record<string, Record<string, string>> {
  const mysql = new URL(process.env['TEST_MYSQL_URL'] ?? '')
  const { username, password, host } = mysql
  mysql.pathname = `/${database}`
  return {
    [name]: {
      'mongodb-uri': process.env['TEST_MONGODB_URI'] ?? '',
      'mysql-url': mysql.href,
      'mysql-dsn': `${decodeURIComponent(username)}:${decodeURIComponent(password)}@tcp(${host})/${database}`,
    },
    [kafkaSecret]: { brokers: process.env['TEST_KAFKA_BROKERS'] ?? '' },
  }
}

/**
 * Writes the service's Components, with their database replaced, its secret store and its config.
 */
function writeResources(
  name: ServiceName,
  folder: string,
  database: string,
  { events, topic, resources = [] }: ServiceOptions & { topic: (name: string) => string },
): void {
  const own = join(root, 'components', name)
  for (const file of existsSync(own) ? readdirSync(own).filter((each) => each.endsWith('.yaml')) : []) {
    const component = parse(readFileSync(join(own, file), 'utf8'))
    // The default of 5 s can be too short on a busy machine, and no supervisor restarts the sidecar
    // here.
    component.spec.initTimeout = '60s'
    for (const item of component.spec.metadata) {
      if (item.name === 'databaseName') item.value = database
      if (item.name === 'relayTopic') item.value = topic(item.value)
    }
    writeFileSync(join(folder, 'resources', file), stringify(component))
  }
  for (const [i, resource] of resources.entries())
    writeFileSync(join(folder, 'resources', `more-${i}.yaml`), stringify(resource))
  if (events) {
    const kafka = parse(readFileSync(join(root, 'components', 'shared', 'kafka.yaml'), 'utf8'))
    kafka.spec.initTimeout = '60s'
    kafka.spec.metadata.push({ name: 'consumerGroup', value: database })
    for (const item of kafka.spec.metadata)
      if (item.name.endsWith('Scopes')) item.value = item.value.replace(/(?<=[=,])[^,;]+/g, topic)
    writeFileSync(join(folder, 'resources', 'kafka.yaml'), stringify(kafka))
    const config = join(root, 'dapr-config', name)
    for (const file of readdirSync(config).filter((each) => each.startsWith('subscription-'))) {
      const subscription = parse(readFileSync(join(config, file), 'utf8'))
      subscription.spec.topic = topic(subscription.spec.topic)
      subscription.spec.deadLetterTopic = topic(subscription.spec.deadLetterTopic)
      writeFileSync(join(folder, 'resources', file), stringify(subscription))
    }
    for (const file of readdirSync(join(root, 'dapr-config')).filter((each) => each.startsWith('resiliency-')))
      writeFileSync(join(folder, 'resources', file), readFileSync(join(root, 'dapr-config', file)))
  }
  const secretStore = {
    type: 'secretstores.local.file',
    version: 'v1',
    metadata: [
      { name: 'secretsFile', value: join(folder, 'secrets.json') },
      { name: 'multiValued', value: 'true' },
    ],
  }
  writeFileSync(
    join(folder, 'resources', 'secrets.yaml'),
    stringify({ apiVersion: 'dapr.io/v1alpha1', kind: 'Component', metadata: { name: 'secrets' }, spec: secretStore }),
  )
  const nameResolution = {
    component: 'sqlite',
    version: 'v1',
    configuration: {
      connectionString: join(folder, 'names.db'),
      updateInterval: '60s',
      timeout: '5s',
      cleanupInterval: '0s',
    },
  }
  writeFileSync(
    join(folder, 'config.yaml'),
    stringify({
      apiVersion: 'dapr.io/v1alpha1',
      kind: 'Configuration',
      metadata: { name: 'test' },
      spec: { nameResolution },
    }),
  )
}

async function createTopics(name: ServiceName, topic: (name: string) => string): Promise<void> {
  const { publishes, subscribes, deadLetterTopics } = services[name]
  const brokers = (process.env['TEST_KAFKA_BROKERS'] ?? '').split(',')
  const admin = new Kafka({ brokers, logLevel: logLevel.NOTHING }).admin()
  await admin.connect()
  const topics = [...new Set([...publishes, ...subscribes, ...deadLetterTopics])].map(topic)
  await admin.createTopics({ topics: topics.map((each) => ({ topic: each, numPartitions: 6, replicationFactor: 1 })) })
  await admin.disconnect()
}

async function createDatabase(database: string): Promise<void> {
  const mysql = await createConnection(process.env['TEST_MYSQL_URL'] ?? '')
  await mysql.query(`CREATE DATABASE \`${database}\``)
  await mysql.end()
}

async function dropDatabase(database: string): Promise<void> {
  const mysql = await createConnection(process.env['TEST_MYSQL_URL'] ?? '')
  await mysql.query(`DROP DATABASE IF EXISTS \`${database}\``)
  await mysql.end()
  const mongodb = await new MongoClient(process.env['TEST_MONGODB_URI'] ?? '').connect()
  await mongodb.db(database).dropDatabase()
  await mongodb.close()
}
