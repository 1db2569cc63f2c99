// Events with a topic of their own, and events that waited in the outbox before there were any.
import { MongoClient } from 'mongodb'
import { createConnection } from 'mysql2/promise'
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
  type StoreUnderTest,
  type TestDatabase,
  type TestTopic,
} from '../stores.ts'

const nowhere = '127.0.0.1:1'

function describeTopics(
  store: StoreUnderTest,
  /** Takes the tables or collections of a database back to how they were before topics. */
  takeBack: (database: TestDatabase) => Promise<void>,
): void {
  describe(`state.${store.type}`, () => {
    let component: ComponentProcess
    let client: StoreClient
    let database: TestDatabase
    let own: TestTopic
    let other: TestTopic
    beforeAll(async () => {
      component = await startComponentProcess(store.type)
      client = openStore(component.socket)
      database = await store.createDatabase()
      own = await createTopic(store.brokers)
      other = await createTopic(store.brokers)
    })
    afterAll(async () => {
      client?.close()
      await component?.kill('SIGKILL')
      await Promise.all([own?.drop(), other?.drop(), database?.drop()])
    })
    const init = (relayBrokers: string) => client.init({ ...database.properties, relayBrokers, relayTopic: own.name })
    const sequences = (topic: TestTopic, key: string) =>
      topic.ofKey(key).map(({ event: { sequence, data } }) => `${String(sequence)}: ${String(data)}`)

    test("events that waited before there were topics go to the Component's, with their numbers", async () => {
      await init(nowhere)
      await client.transact([event('old', 'a')])
      await client.transact([event('old', 'b')])
      await takeBack(database)
      await init(nowhere)
      await client.transact([event('old', 'c'), event('old', 'd', { relayTopic: other.name })])
      expect(await database.waiting()).toBe(4)
      await init(store.brokers)
      await poll('all arrive', () => own.ofKey('old').length === 3 && other.ofKey('old').length === 1)
      expect([sequences(own, 'old'), sequences(other, 'old')]).toEqual([['1: a', '2: b', '3: c'], ['1: d']])
      await poll('they are deleted', async () => (await database.waiting()) === 0)
    })

    test('a key is in order and without gaps in each topic, whoever writes it', async () => {
      await Promise.all(
        Array.from({ length: 60 }, (_, n) =>
          client.transact(
            Array.from({ length: 1 + (n % 4) }, (_, m) =>
              event(`k-${(n + m) % 5}`, n, (n + m) % 3 === 0 ? { relayTopic: other.name } : {}),
            ),
          ),
        ),
      )
      await poll('all are relayed', async () => (await database.waiting()) === 0)
      const arrived = (topic: TestTopic) => topic.published.filter(({ key }) => key.startsWith('k-'))
      await poll('all arrive', () => arrived(own).length + arrived(other).length >= 150)
      for (const topic of [own, other]) {
        for (const [key, events] of Map.groupBy(arrived(topic), (each) => each.key)) {
          const numbers = events.map((each) => Number(each.event['sequence']))
          expect({ key, numbers }).toEqual({ key, numbers: numbers.map((_, n) => n + 1) })
        }
      }
    })

    test('a name that cannot be a topic is refused', async () => {
      const { details } = await failure(client.transact([event('k', 1, { relayTopic: 'no topic' })]))
      expect(details).toMatch(/^EVENT_REFUSED: .*relayTopic/)
    })
  })
}

describeTopics(mysqlUnderTest(), async ({ properties }) => {
  const connection = await createConnection({ uri: properties['connectionString'] ?? '' })
  await connection.query('ALTER TABLE state_outbox DROP COLUMN topic')
  await connection.query('ALTER TABLE state_outbox_sequence MODIFY partition_key VARBINARY(1024) NOT NULL')
  await connection.query('ALTER TABLE state_outbox_router DROP PRIMARY KEY, ADD PRIMARY KEY (aggregateid, sequence)')
  await connection.query('DELETE FROM state_outbox_version WHERE version > 3')
  await connection.end()
})

// A document without a topic is as it was.
describeTopics(mongodbUnderTest(), async ({ properties, name }) => {
  const mongo = await MongoClient.connect(properties['connectionString'] ?? '')
  const withTopic = await mongo
    .db(name)
    .collection('daprCollection_outbox')
    .countDocuments({ topic: { $exists: true } })
  await mongo.close()
  if (withTopic > 0) throw new Error('an event without a topic of its own has one')
})
