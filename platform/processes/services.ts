// The one list of services. A new service adds one line here; its ports, database, topics,
// components and secrets follow from that line and from its YAML in components/ and dapr-config/.
import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { parseAllDocuments } from 'yaml'
import { root } from './paths.ts'

type ServiceLine = {
  protocol: 'grpc' | 'http'
  /** Variables of the environment of `npm start` that are passed on to this service. */
  settings?: string[]
  /** Secrets besides its database's, each random and created once (service-secret.ts). */
  secrets?: string[]
  /** HTTP services outside the shop that its sidecar may call. */
  httpEndpoints?: HttpEndpoint[]
}

export type HttpEndpoint = {
  name: string
  /** Variable that holds its address; without it, that of the process named `server`. */
  addressVariable: string
  /** What the shop runs itself where the variable is missing. */
  server: 'mailbox' | 'opensearch' | 'paymentSandbox'
  /** The secret that its sidecar sends as a bearer token. */
  bearerSecret?: string
}

// Append only: a service's position decides its ports.
const serviceLines = {
  gateway: {
    protocol: 'http',
    settings: [
      'CORS_ORIGINS',
      'TRUST_PROXY_HOPS',
      'RATE_LIMIT_PER_10S',
      'STAFF_RATE_LIMIT_PER_10S',
      'AUTH_RATE_LIMIT_PER_MIN',
    ],
  },
  users: {
    protocol: 'grpc',
    settings: ['MAIL_FROM', 'PASSWORD_RESET_URL'],
    secrets: ['jwt-encryption-key', 'mail-api-key'],
    httpEndpoints: [{ name: 'mail', addressVariable: 'MAIL_URL', server: 'mailbox', bearerSecret: 'mail-api-key' }],
  },
  catalog: { protocol: 'grpc' },
  inventory: { protocol: 'grpc' },
  orders: { protocol: 'grpc', settings: ['STOCK_TIMEOUT_S', 'PAYMENT_TIMEOUT_S', 'ORDERS_MAX_WAIT_MS'] },
  payments: {
    protocol: 'grpc',
    settings: ['PAYMENT_WORKERS', 'PAYMENT_LEASE_S', 'PAYMENT_POLL_MS', 'PAYMENT_SEARCH_LAG_S'],
    secrets: ['provider-api-key'],
    httpEndpoints: [
      {
        name: 'payment-provider',
        addressVariable: 'PAYMENT_PROVIDER_URL',
        server: 'paymentSandbox',
        bearerSecret: 'provider-api-key',
      },
    ],
  },
  search: {
    protocol: 'grpc',
    settings: ['SEARCH_INDEX'],
    httpEndpoints: [{ name: 'opensearch', addressVariable: 'OPENSEARCH_URL', server: 'opensearch' }],
  },
} satisfies Record<string, ServiceLine>

/** Part of every sidecar's identity, on one machine as in a cluster. */
export const namespace = 'shop'

export type ServiceName = keyof typeof serviceLines

export const serviceNames = Object.keys(serviceLines) as ServiceName[]

/** Component types that are pluggable, each with its program in pluggable/. */
const pluggablePrograms = {
  'state.outbox-mysql': 'outbox-mysql',
  'state.outbox-mongodb': 'outbox-mongodb',
  'bindings.mongodb': 'bindings-mongodb',
} as const

export type ComponentType = (typeof pluggablePrograms)[keyof typeof pluggablePrograms]
export type Database = 'mongodb' | 'mysql'

/** The keys of a service's secret that hold a database's address. */
const databaseSecrets: Record<string, Database> = {
  'mongodb-uri': 'mongodb',
  'mysql-url': 'mysql',
  'mysql-dsn': 'mysql',
}

export type Service = Required<ServiceLine> & {
  /** Servers on which it has a database, which is named after it. */
  databases: Database[]
  /** Its pluggable components, each in a process next to its sidecar. */
  components: ComponentType[]
  /** Topics that its stores relay to. */
  publishes: string[]
  /** Topics that it subscribes to. */
  subscribes: string[]
  deadLetterTopics: string[]
}

type Resource = {
  kind: string
  spec: {
    type?: string
    metadata?: { name: string; value?: string; secretKeyRef?: { name: string; key: string } }[]
    topic?: string
    deadLetterTopic?: string
  }
}

/** What a service needs, by its line and its YAML. @throws Error when its YAML cannot be parsed */
function describeService(name: string, line: ServiceLine): Service {
  const components = readResources('components', name).filter(({ kind }) => kind === 'Component')
  const subscriptions = readResources('dapr-config', name).filter(({ kind }) => kind === 'Subscription')
  const metadata = components.flatMap(({ spec }) => spec.metadata ?? [])
  const types = new Set(components.map(({ spec }) => spec.type))
  const secrets = metadata.flatMap(({ secretKeyRef }) => secretKeyRef?.key ?? [])
  return {
    settings: [],
    secrets: [],
    httpEndpoints: [],
    ...line,
    databases: distinct(secrets.flatMap((secret) => databaseSecrets[secret] ?? [])).toSorted(),
    components: Object.entries(pluggablePrograms).flatMap(([type, program]) => (types.has(type) ? [program] : [])),
    publishes: distinct(metadata.flatMap(({ name, value }) => (name === 'relayTopic' && value ? [value] : []))),
    subscribes: distinct(subscriptions.flatMap(({ spec }) => spec.topic ?? [])),
    deadLetterTopics: distinct(subscriptions.flatMap(({ spec }) => spec.deadLetterTopic ?? [])),
  }
}

function readResources(...folders: string[]): Resource[] {
  const folder = join(root, ...folders)
  if (!existsSync(folder)) return []
  return readdirSync(folder)
    .filter((file) => file.endsWith('.yaml'))
    .flatMap((file) => parseAllDocuments(readFileSync(join(folder, file), 'utf8')))
    .map((document) => document.toJS() as Resource)
}

const distinct = <T>(values: T[]): T[] => [...new Set(values)]

export const services = Object.fromEntries(
  serviceNames.map((name) => [name, describeService(name, serviceLines[name])]),
) as Record<ServiceName, Service>

/** Every topic of the shop's events. An event may name another topic than its store's. */
export const topics = distinct(
  Object.values(services).flatMap(({ publishes, subscribes }) => [...publishes, ...subscribes]),
)

export const deadLetterTopics = distinct(Object.values(services).flatMap((service) => service.deadLetterTopics))
