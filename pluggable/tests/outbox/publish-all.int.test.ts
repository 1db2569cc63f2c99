import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Client, credentials, Metadata, type ServiceError } from '@grpc/grpc-js'
import { Kafka, logLevel } from 'kafkajs'
import { MongoClient } from 'mongodb'
import { createConnection } from 'mysql2/promise'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { DaprService } from '#protos/dapr/proto/runtime/v1/dapr.ts'
import { watchTopic } from '../../../platform/testing/events.ts'
import { startSidecar } from '../../../platform/testing/sidecar.ts'
import { poll } from '../../../platform/poll.ts'
import { startComponentProcess } from '../../../platform/testing/component-process.ts'

// Code written for Dapr's built-in outbox gets the same events from ours: one sidecar, with the
// same transactions through Dapr's own store with its outbox and through both of ours with
// `publish: all`.

type Upsert = { key: string; value: string | Buffer; metadata?: Record<string, string> }
type Event = Record<string, unknown>

const run = `publish_${randomUUID().slice(0, 8)}`
const stores = ['builtin', 'ours-mysql', 'ours-mongodb'] as const
type StoreName = (typeof stores)[number]
const topicOf = (store: StoreName) => `${run}.${store}`

const closers: (() => unknown)[] = []
let api: Client
let apiToken: string
let published: Record<StoreName, Event[]>

function call<Request, Response>(
  method: {
    path: string
    requestSerialize: (request: Request) => Buffer
    responseDeserialize: (bytes: Buffer) => Response
  },
  request: Request,
): Promise<Response> {
  const metadata = new Metadata()
  metadata.set('dapr-api-token', apiToken)
  return new Promise((resolve, reject) =>
    api.makeUnaryRequest(
      method.path,
      method.requestSerialize,
      method.responseDeserialize,
      request,
      metadata,
      { deadline: Date.now() + 10_000 },
      (error: ServiceError | null, response?: Response) => (error ? reject(error) : resolve(response as Response)),
    ),
  )
}

const item = ({ key, value, metadata = {} }: Upsert) => ({
  key,
  value: Buffer.from(value),
  etag: undefined,
  options: undefined,
  metadata,
})
const upsert = (operation: Upsert) => ({ operationType: 'upsert', request: item(operation) })
const remove = (key: string) => ({ operationType: 'delete', request: item({ key, value: '' }) })
const transact = (storeName: StoreName, operations: ReturnType<typeof upsert>[]) =>
  call(DaprService.executeStateTransaction, { storeName, operations, metadata: {} })
const stateOf = async (storeName: StoreName, key: string) =>
  Buffer.from((await call(DaprService.getState, { storeName, key, consistency: 0, metadata: {} })).data).toString()
const arrived = (store: StoreName, what: string, match: (event: Event) => boolean) =>
  poll(`${what} through ${store}`, () => published[store].some(match), { timeoutMs: 60_000 })

beforeAll(async () => {
  const { TEST_MYSQL_URL = '', TEST_MONGODB_URI = '', TEST_KAFKA_BROKERS = '' } = process.env
  const folder = mkdtempSync(join(tmpdir(), 'publish-'))
  closers.push(() => rmSync(folder, { recursive: true, force: true }))
  const mysql = await createConnection({ uri: TEST_MYSQL_URL })
  closers.push(() => mysql.end())
  for (const store of ['ours', 'builtin']) {
    await mysql.query(`CREATE DATABASE ${run}_${store}`)
    closers.push(() => mysql.query(`DROP DATABASE ${run}_${store}`))
  }
  const mongodb = await MongoClient.connect(TEST_MONGODB_URI)
  closers.push(async () => {
    await mongodb.db(run).dropDatabase()
    await mongodb.close()
  })

  const admin = new Kafka({ brokers: TEST_KAFKA_BROKERS.split(','), logLevel: logLevel.NOTHING }).admin()
  await admin.connect()
  // The built-in outbox sends through an internal topic: namespace, app id, topic, "outbox".
  const topics = [...stores.map(topicOf), `default${run}${topicOf('builtin')}outbox`]
  await admin.createTopics({ topics: topics.map((topic) => ({ topic, numPartitions: 6 })) })
  closers.push(async () => {
    await admin.deleteTopics({ topics })
    await admin.disconnect()
  })
  published = Object.fromEntries(
    await Promise.all(
      stores.map(async (store) => {
        const watched = await watchTopic(topicOf(store))
        closers.push(watched.close)
        return [store, watched.events]
      }),
    ),
  ) as typeof published

  for (const type of ['outbox-mysql', 'outbox-mongodb']) {
    const component = await startComponentProcess(type, folder)
    closers.push(() => component.kill('SIGTERM'))
  }
  const { username, password, host } = new URL(TEST_MYSQL_URL)
  const relay = (store: StoreName) => ({ publish: 'all', relayBrokers: TEST_KAFKA_BROKERS, relayTopic: topicOf(store) })
  const sidecar = await startSidecar({
    appId: run,
    folder,
    components: [
      {
        name: 'kafka',
        type: 'pubsub.kafka',
        metadata: { brokers: TEST_KAFKA_BROKERS, authType: 'none', initialOffset: 'oldest', version: '3.6.0' },
      },
      {
        name: 'builtin',
        type: 'state.mysql',
        metadata: {
          connectionString: `${decodeURIComponent(username)}:${decodeURIComponent(password)}@tcp(${host})/`,
          schemaName: `${run}_builtin`,
          outboxPublishPubsub: 'kafka',
          outboxPublishTopic: topicOf('builtin'),
        },
      },
      {
        name: 'ours-mysql',
        type: 'state.outbox-mysql',
        metadata: { connectionString: TEST_MYSQL_URL, schemaName: `${run}_ours`, ...relay('ours-mysql') },
      },
      {
        name: 'ours-mongodb',
        type: 'state.outbox-mongodb',
        // With keys without the app id, only `relaySource`, where daprd inserts it, can name it.
        metadata: {
          connectionString: TEST_MONGODB_URI,
          databaseName: run,
          keyPrefix: 'none',
          relaySource: '{appID}',
          ...relay('ours-mongodb'),
        },
      },
    ],
  })
  closers.push(sidecar.close)
  apiToken = sidecar.apiToken
  api = new Client(`127.0.0.1:${sidecar.grpcPort}`, credentials.createInsecure())
  closers.push(() => api.close())
})
afterAll(async () => {
  for (const closer of closers.toReversed()) await closer()
})

const json = { contentType: 'application/json' }
const projection = { 'outbox.projection': 'true' }

/** Transactions that the built-in outbox survives. Each event names its case as its subject. */
const cases: Record<string, { operations: ReturnType<typeof upsert>[]; events?: number }> = {
  JSON: {
    operations: [upsert({ key: 'json', value: '{"text":"grün","n":1.5}', metadata: { ...json, subject: 'JSON' } })],
  },
  'JSON without a content type': {
    operations: [upsert({ key: 'untyped', value: '{"n":1}', metadata: { subject: 'JSON without a content type' } })],
  },
  text: {
    operations: [upsert({ key: 'text', value: 'grün', metadata: { contentType: 'text/plain', subject: 'text' } })],
  },
  bytes: {
    operations: [
      upsert({
        key: 'bytes',
        value: Buffer.from([0, 255]),
        metadata: { contentType: 'application/octet-stream', subject: 'bytes' },
      }),
    ],
  },
  'invalid JSON': {
    operations: [upsert({ key: 'no', value: '{', metadata: { ...json, subject: 'invalid JSON' } })],
  },
  attributes: {
    operations: [
      upsert({
        key: 'attributes',
        value: '1',
        metadata: { ...json, subject: 'attributes', type: 'a.b.v1', source: 'elsewhere', 'my-custom-ce-field': 'abc' },
      }),
    ],
  },
  'a projection': {
    operations: [
      upsert({
        key: 'projected',
        value: '{"state":1}',
        metadata: { ...json, subject: 'a projection', type: 'of.state' },
      }),
      upsert({ key: 'projected', value: '{"event":1}', metadata: { ...json, ...projection } }),
    ],
  },
  'two upserts and a delete': {
    operations: [
      upsert({ key: 'one', value: '1', metadata: { ...json, subject: 'two upserts and a delete' } }),
      remove('other'),
      upsert({ key: 'two', value: '1', metadata: { ...json, subject: 'two upserts and a delete' } }),
    ],
    events: 2,
  },
}

/** Picks what code can rely on: not id, time and trace, which always differ, nor our additions. */
const comparable = ({
  specversion,
  type,
  source,
  subject,
  datacontenttype,
  data,
  data_base64,
  'my-custom-ce-field': custom,
}: Event) => ({ specversion, type, source, subject, datacontenttype, data, data_base64, custom })

test('the same transactions publish the same events as through the built-in outbox', async () => {
  for (const store of stores) {
    for (const { operations } of Object.values(cases)) await transact(store, operations)
  }
  for (const [subject, { events = 1 }] of Object.entries(cases)) {
    const of = (store: StoreName) => published[store].filter((event) => event['subject'] === subject)
    for (const store of stores)
      await poll(`${subject} through ${store}`, () => of(store).length >= events, { timeoutMs: 60_000 })
    const expected = of('builtin').map(comparable)
    for (const store of stores)
      expect({ store, subject, events: of(store).map(comparable) }).toEqual({ store, subject, events: expected })
  }
  for (const store of stores) expect(published[store]).toHaveLength(9)
})

describe.each(['ours-mysql', 'ours-mongodb'] as const)('%s', (store) => {
  test('an event has the app as its source, a default type, and a number within its key', async () => {
    await transact(store, [upsert({ key: 'plain', value: '1', metadata: json })])
    await transact(store, [upsert({ key: 'plain', value: '2', metadata: json })])
    await arrived(store, 'the second', ({ partitionkey, sequence }) => partitionkey === 'plain' && sequence === '2')
    expect(published[store].filter(({ partitionkey }) => partitionkey === 'plain')).toEqual([
      expect.objectContaining({ source: run, type: 'com.dapr.event.sent', sequence: '1', data: 1 }),
      expect.objectContaining({ source: run, type: 'com.dapr.event.sent', sequence: '2', data: 2 }),
    ])
  })

  test('several projections, which crash the built-in outbox, are published next to their states', async () => {
    await transact(store, [
      upsert({ key: 'a', value: '"state a"', metadata: json }),
      upsert({ key: 'a', value: '"event a"', metadata: { ...json, ...projection } }),
      upsert({ key: 'b', value: '"state b"', metadata: json }),
      upsert({ key: 'b', value: '"event b"', metadata: { ...json, ...projection } }),
    ])
    await arrived(store, 'a', ({ partitionkey }) => partitionkey === 'a')
    await arrived(store, 'b', ({ partitionkey }) => partitionkey === 'b')
    const of = (key: string) =>
      published[store].filter(({ partitionkey }) => partitionkey === key).map(({ data }) => data)
    expect([of('a'), of('b')]).toEqual([['event a'], ['event b']])
    expect([await stateOf(store, 'a'), await stateOf(store, 'b')]).toEqual(['"state a"', '"state b"'])
  })

  test('a plain write, a bulk write and a delete publish nothing', async () => {
    await call(DaprService.saveState, { storeName: store, states: [item({ key: 'quiet', value: '1' })] })
    await call(DaprService.saveState, {
      storeName: store,
      states: [item({ key: 'quiet', value: '2' }), item({ key: 'quiet2', value: '2' })],
    })
    await call(DaprService.deleteState, {
      storeName: store,
      key: 'quiet2',
      etag: undefined,
      options: undefined,
      metadata: {},
    })
    await transact(store, [remove('quiet')])
    await transact(store, [upsert({ key: 'quiet', value: '3' })])
    // Numbers have no gaps, so number 1 shows that nothing was published before.
    await arrived(store, 'the only event', ({ partitionkey, sequence }) => partitionkey === 'quiet' && sequence === '1')
    expect(published[store].filter(({ partitionkey }) => String(partitionkey).startsWith('quiet'))).toHaveLength(1)
  })

  test('an event that is too large is refused together with its state', async () => {
    await expect(transact(store, [upsert({ key: 'large', value: 'x'.repeat(1_000_000) })])).rejects.toThrow(
      'EVENT_TOO_LARGE',
    )
    expect(await stateOf(store, 'large')).toBe('')
  })
})
