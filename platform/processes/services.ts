// Which services there are, and what each has beside its sidecar. The one list.
import type { ServiceName } from './ports.ts'

export type ComponentType = 'outbox-mysql' | 'outbox-mongodb' | 'bindings-mongodb'
export type Database = 'mongodb' | 'mysql'

export type Service = {
  /** gRPC to the service, or HTTP. */
  protocol: 'grpc' | 'http'
  /** Databases in which it has one of its own, named like itself. */
  databases: Database[]
  /** Its pluggable components, each a process of its own beside its sidecar. */
  components: ComponentType[]
  /** Whether its sidecar reads or writes Kafka; it then starts after the topics are made. */
  kafka: boolean
}

export const services: Record<ServiceName, Service> = {
  gateway: { protocol: 'http', databases: [], components: [], kafka: false },
  users: { protocol: 'grpc', databases: ['mongodb'], components: ['outbox-mongodb'], kafka: true },
  catalog: {
    protocol: 'grpc',
    databases: ['mongodb', 'mysql'],
    components: ['outbox-mongodb', 'bindings-mongodb'],
    kafka: true,
  },
  inventory: { protocol: 'grpc', databases: ['mysql'], components: ['outbox-mysql'], kafka: true },
  orders: { protocol: 'grpc', databases: ['mysql'], components: ['outbox-mysql'], kafka: true },
  payments: { protocol: 'grpc', databases: ['mysql'], components: ['outbox-mysql'], kafka: true },
}

export const topics = ['users', 'products', 'stock', 'orders', 'payments'] as const

/** Which services listen to events, so that each has a dead-letter topic. */
export const consumers: ServiceName[] = ['catalog', 'inventory', 'orders', 'payments']
