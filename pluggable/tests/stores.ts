// Shared by the suites of the outbox stores: clients of a component's socket, new databases and
// topics.
import { randomUUID } from 'node:crypto'
import type { ServiceError } from '@grpc/grpc-js'
import { Kafka, logLevel, type Admin } from 'kafkajs'
import { MongoClient } from 'mongodb'
import { createConnection, type RowDataPacket } from 'mysql2/promise'
import {
  SetRequest,
  StateOptions_StateConcurrency as Concurrency,
  StateStoreClient,
  TransactionalStateStoreClient,
  type DeleteRequest,
  type GetResponse,
} from '#protos/dapr/proto/components/v1/state.ts'
import { poll } from '../../platform/poll.ts'
import { createClient } from './component-client.ts'

export type TestDatabase = {
  name: string
  /** Metadata for a store in it, without a relay. */
  properties: Record<string, string>
  /** Counts the events in its outbox. */
  waiting(): Promise<number>
  drop(): Promise<void>
}

export type StoreUnderTest = {
  type: 'outbox-mysql' | 'outbox-mongodb'
  brokers: string
  /** Creates a database for one store. */
  createDatabase(): Promise<TestDatabase>
}

/** A record as a plain consumer reads it. */
export type Published = { key: string; partition: number; bytes: string; event: Record<string, unknown> }

export type Write = {
  key: string
  value: unknown
  etag?: string
  firstWrite?: boolean
  metadata?: Record<string, string>
}

export const toSet = ({ key, value, etag, firstWrite, metadata }: Write): SetRequest =>
  SetRequest.fromPartial({
    key: `app||${key}`,
    value: Buffer.isBuffer(value) ? value : Buffer.from(JSON.stringify(value)),
    ...(etag === undefined ? {} : { etag: { value: etag } }),
    metadata: metadata ?? {},
    options: {
      concurrency: firstWrite ? Concurrency.CONCURRENCY_FIRST_WRITE : Concurrency.CONCURRENCY_LAST_WRITE,
      consistency: 0,
    },
  })

export const toDelete = (key: string, etag?: string): DeleteRequest => ({
  key: `app||${key}`,
  etag: etag === undefined ? undefined : { value: etag },
  metadata: {},
  options: undefined,
})

/** Returns an operation that is an event, by default with the partition key `key`. */
export const event = (key: string, data: unknown, more: Record<string, string> = {}): Write => ({
  key,
  value: data,
  metadata: { 'outbox.projection': 'true', 'cloudevent.type': 'test.happened.v1', ...more },
})

/**
 * Connects to one instance, with short calls for tests. Keys get the prefix `app||`, as from daprd.
 */
export function openStore(socket: string, instance = 'store') {
  const plain = createClient(StateStoreClient, socket, instance)
  const transactional = createClient(TransactionalStateStoreClient, socket, instance)
  const get = (key: string) =>
    plain.call<{ key: string; metadata: {}; consistency: 0 }, GetResponse>((c) => c.get, {
      key: `app||${key}`,
      metadata: {},
      consistency: 0,
    })
  return {
    init: (properties: Record<string, string>) => plain.call((c) => c.init, { metadata: { properties } }),
    get,
    json: async (key: string) => {
      const { data } = await get(key)
      return data.length === 0 ? undefined : (JSON.parse(Buffer.from(data).toString()) as unknown)
    },
    etag: async (key: string) => (await get(key)).etag?.value,
    set: (write: Write) => plain.call((c) => c.set, toSet(write)),
    delete: (key: string, etag?: string) => plain.call((c) => c.delete, toDelete(key, etag)),
    bulkGet: (keys: string[]) =>
      plain.call<unknown, { items: { key: string; data: Uint8Array; metadata: Record<string, string> }[] }>(
        (c) => c.bulkGet as never,
        {
          items: keys.map((key) => ({ key: `app||${key}`, metadata: {}, consistency: 0 })),
          options: undefined,
        },
      ),
    bulkSet: (writes: Write[]) => plain.call((c) => c.bulkSet, { items: writes.map(toSet), options: undefined }),
    bulkDelete: (keys: string[]) =>
      plain.call((c) => c.bulkDelete, { items: keys.map((key) => toDelete(key)), options: undefined }),
    transact: (operations: (Write | { delete: string; etag?: string })[], metadata: Record<string, string> = {}) =>
      transactional.call((c) => c.transact, {
        operations: operations.map((operation) => ({
          request:
            'delete' in operation
              ? { $case: 'delete' as const, value: toDelete(operation.delete, operation.etag) }
              : { $case: 'set' as const, value: toSet(operation) },
        })),
        metadata,
      }),
    close() {
      plain.close()
      transactional.close()
    },
  }
}

/** Returns the error of a call that must fail. */
export const failure = async (work: Promise<unknown>): Promise<ServiceError> => {
  try {
    await work
  } catch (error) {
    return error as ServiceError
  }
  throw new Error('expected a failure')
}

export type StoreClient = ReturnType<typeof openStore>

export type TestTopic = {
  name: string
  /** Everything read so far, in order of arrival. */
  published: Published[]
  ofKey(key: string): Published[]
  drop(): Promise<void>
}

async function withAdmin<T>(brokers: string, work: (admin: Admin) => Promise<T>): Promise<T> {
  const admin = new Kafka({ brokers: brokers.split(','), logLevel: logLevel.NOTHING }).admin()
  await admin.connect()
  return work(admin).finally(() => admin.disconnect())
}

/** Creates a topic, waits until each partition has a leader, and returns its name. */
export const makeTopic = (brokers: string, partitions = 6): Promise<string> =>
  withAdmin(brokers, async (admin) => {
    const name = `test-${randomUUID()}`
    // kafkajs' own wait for leaders gives up if a broker does not know the topic yet.
    await admin.createTopics({ topics: [{ topic: name, numPartitions: partitions }], waitForLeaders: false })
    await poll('the topic has leaders', async () => {
      const { topics } = await admin.fetchTopicMetadata({ topics: [name] }).catch(() => ({ topics: [] }))
      return topics.some(
        (topic) => topic.partitions.length === partitions && topic.partitions.every(({ leader }) => leader >= 0),
      )
    })
    return name
  })

export const dropTopic = (brokers: string, name: string): Promise<void> =>
  withAdmin(brokers, (admin) => admin.deleteTopics({ topics: [name] }))

/** Creates a topic with 6 partitions and a plain consumer that reads it from the beginning. */
export async function createTopic(brokers: string): Promise<TestTopic> {
  const name = await makeTopic(brokers)
  const published: Published[] = []
  const consumer = new Kafka({ brokers: brokers.split(','), logLevel: logLevel.NOTHING }).consumer({
    groupId: name,
    maxWaitTimeInMs: 250,
  })
  await consumer.connect()
  await consumer.subscribe({ topic: name, fromBeginning: true })
  await consumer.run({
    eachMessage: async ({ message, partition }) => {
      const bytes = message.value?.toString() ?? ''
      published.push({
        key: message.key?.toString() ?? '',
        partition,
        bytes,
        event: JSON.parse(bytes) as Record<string, unknown>,
      })
    },
  })
  return {
    name,
    published,
    ofKey: (key) => published.filter((each) => each.key === key),
    async drop() {
      await consumer.disconnect()
      await dropTopic(brokers, name)
    },
  }
}

const newName = () => `test_${randomUUID().replaceAll('-', '')}`

/** `state.outbox-mysql` on the server at `url`, with an administrator's login and no database. */
export const mysqlUnderTest = (
  url = process.env['TEST_MYSQL_URL'] ?? '',
  brokers = process.env['TEST_KAFKA_BROKERS'] ?? '',
): StoreUnderTest => ({
  type: 'outbox-mysql',
  brokers,
  async createDatabase() {
    const name = newName()
    // A new connection per query: tests kill the server.
    const ask = async (sql: string) => {
      const connection = await createConnection({ uri: url })
      return connection.query<RowDataPacket[]>(sql).finally(() => connection.end())
    }
    await ask(`CREATE DATABASE ${name}`)
    const own = new URL(url)
    own.pathname = `/${name}`
    return {
      name,
      properties: { connectionString: own.href },
      waiting: async () => Number((await ask(`SELECT COUNT(*) AS n FROM ${name}.state_outbox`))[0][0]?.['n']),
      drop: async () => void (await ask(`DROP DATABASE ${name}`)),
    }
  },
})

/** `state.outbox-mongodb` on the server at `uri`, with an administrator's login. */
export const mongodbUnderTest = (
  uri = process.env['TEST_MONGODB_URI'] ?? '',
  brokers = process.env['TEST_KAFKA_BROKERS'] ?? '',
): StoreUnderTest => ({
  type: 'outbox-mongodb',
  brokers,
  async createDatabase() {
    const databaseName = newName()
    const client = await new MongoClient(uri).connect()
    const db = client.db(databaseName)
    return {
      name: databaseName,
      properties: { connectionString: uri, databaseName },
      waiting: () => db.collection('daprCollection_outbox').countDocuments(),
      drop: async () => {
        await db.dropDatabase()
        await client.close()
      },
    }
  },
})

/** Returns the store with additional metadata. */
export const withSettings = (store: StoreUnderTest, settings: Record<string, string>): StoreUnderTest => ({
  ...store,
  async createDatabase() {
    const database = await store.createDatabase()
    return { ...database, properties: { ...database.properties, ...settings } }
  },
})
