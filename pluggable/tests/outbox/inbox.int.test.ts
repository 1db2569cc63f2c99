import { MongoClient } from 'mongodb'
import { createConnection, type RowDataPacket } from 'mysql2/promise'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { poll } from '../../../platform/poll.ts'
import { startComponentProcess, type ComponentProcess } from '../../../platform/testing/component-process.ts'
import {
  createTopic,
  event,
  failure,
  mongodbUnderTest,
  mysqlUnderTest,
  openStore,
  type StoreClient,
  type TestDatabase,
  type TestTopic,
} from '../stores.ts'

// An inbox row as pluggable/README.md describes it: written with the effect, and expired once no
// repeat can arrive any more.

const ttlSeconds = 8 * 24 * 3600

async function secondsLeftInMysql(database: TestDatabase): Promise<Record<string, number>> {
  const connection = await createConnection({ uri: process.env['TEST_MYSQL_URL'] ?? '' })
  const [rows] = await connection.query<RowDataPacket[]>(
    `SELECT id, TIMESTAMPDIFF(SECOND, NOW(), expiredate) AS seconds FROM ${database.name}.state
     WHERE expiredate IS NOT NULL`,
  )
  await connection.end()
  return Object.fromEntries(rows.map((row) => [String(row['id']), Number(row['seconds'])]))
}

async function secondsLeftInMongodb(database: TestDatabase): Promise<Record<string, number>> {
  const client = await MongoClient.connect(process.env['TEST_MONGODB_URI'] ?? '')
  const rows = await client
    .db(database.name)
    .collection<{ _id: string; _ttl: Date | null }>('daprCollection')
    .find({ _ttl: { $ne: null } })
    .toArray()
  await client.close()
  return Object.fromEntries(rows.map(({ _id, _ttl }) => [_id, ((_ttl?.getTime() ?? 0) - Date.now()) / 1_000]))
}

describe.each([
  { store: mysqlUnderTest(), secondsLeft: secondsLeftInMysql },
  { store: mongodbUnderTest(), secondsLeft: secondsLeftInMongodb },
])('state.$store.type', ({ store, secondsLeft }) => {
  let component: ComponentProcess
  let client: StoreClient
  let database: TestDatabase
  let topic: TestTopic
  beforeAll(async () => {
    ;[component, database, topic] = await Promise.all([
      startComponentProcess(store.type),
      store.createDatabase(),
      createTopic(store.brokers),
    ])
    client = openStore(component.socket)
    await client.init({ ...database.properties, relayBrokers: store.brokers, relayTopic: topic.name })
  })
  afterAll(async () => {
    client?.close()
    await component?.kill('SIGKILL')
    await topic?.drop()
    await database?.drop()
  })

  test('a repeated event changes nothing, and its inbox row lasts as long as it can be repeated', async () => {
    const handle = (total: number) =>
      client.transact([
        { key: 'inbox:{u-1}:e-1', value: 1, firstWrite: true, metadata: { ttlInSeconds: String(ttlSeconds) } },
        { key: 'total:{u-1}', value: total },
        event('u-1', { total }),
      ])
    await handle(1)
    expect((await failure(handle(2))).details).toMatch(/^ETAG_MISMATCH: .*inbox:\{u-1\}:e-1/)
    expect(await client.json('total:{u-1}')).toBe(1)
    const left = await secondsLeft(database)
    expect(Object.keys(left)).toEqual(['app||inbox:{u-1}:e-1'])
    expect(left['app||inbox:{u-1}:e-1']).toBeGreaterThan(ttlSeconds - 60)
    expect(left['app||inbox:{u-1}:e-1']).toBeLessThanOrEqual(ttlSeconds + 5)
    // Numbers have no gaps, so the next event shows that the repeat published nothing.
    await client.transact([event('u-1', { last: true })])
    const events = await poll('both events', () => topic.ofKey('u-1').length >= 2 && topic.ofKey('u-1'))
    expect(events.map((each) => [each.event['sequence'], each.event['data']])).toEqual([
      ['1', { total: 1 }],
      ['2', { last: true }],
    ])
  })
})
