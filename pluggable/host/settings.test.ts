import { expect, test } from 'vitest'
import { parseMongodbSettings } from '../outbox-mongodb/metadata.ts'
import { parseMysqlSettings } from '../outbox-mysql/metadata.ts'
import { parseMongodbBindingSettings } from '../bindings-mongodb/metadata.ts'

const connectionString = 'mysql://u:p@localhost:3306/db'

test("names are case-insensitive, and Dapr's own are ignored", () => {
  const settings = parseMysqlSettings({
    ConnectionString: connectionString,
    keyPrefix: 'none',
    relaybrokers: 'a:1, b:2',
    relayTopic: 't',
  })
  expect([settings.relayBrokers, settings.tableName, settings.maxEventBytes]).toEqual([
    ['a:1', 'b:2'],
    'state',
    1_000_000,
  ])
})

test('every invalid field is named', () => {
  expect(() =>
    parseMysqlSettings({
      connectionString: 'nonsense',
      tableName: 'a; DROP TABLE b',
      relayBrokers: 'nowhere',
      relayTopic: 't',
    }),
  ).toThrow(/connectionString.*tableName.*relayBrokers/s)
})

test('a topic without brokers is a mistake, not a plain store', () => {
  expect(() => parseMysqlSettings({ connectionString, relayTopic: 't' })).toThrow('relayTopic')
})

test.each([
  [{ publish: 'some', relayBrokers: 'a:1', relayTopic: 't' }, /"publish": must be projections or all/],
  [{ publish: 'all' }, /"publish": .*relayTopic/],
  [{ PUBLISH: 'all', relayBrokers: 'a:1', relayTopic: 't', ACTORSTATESTORE: 'True' }, /"publish": .*actorStateStore/],
  [{ relay: 'none' }, /"relayTopic"/],
  [{ relay: 'kafka' }, /"relayBrokers"/],
  [{ relay: 'debezium', relayTopic: 't' }, /"relay": must be kafka or none/],
  [{ relayBrokers: 'a:1', relayTopic: 't', outboxPublishPubsub: 'kafka' }, /"outboxPublishPubsub"/],
])('%j is a mistake, and the field is named', (properties, problem) => {
  expect(() => parseMysqlSettings({ connectionString, ...properties })).toThrow(problem)
  expect(() => parseMongodbSettings({ connectionString: 'mongodb://h', ...properties })).toThrow(problem)
})

test.each<Record<string, string>>([
  { publish: 'all', relayBrokers: 'a:1', relayTopic: 't', actorStateStore: 'false' },
  { publish: 'all', relay: 'none', relayTopic: 't' },
  { relayBrokers: 'a:1', relayTopic: 't', actorStateStore: 'true' },
  // A store that Dapr's built-in outbox uses.
  { outboxPublishPubsub: 'kafka', outboxPublishTopic: 't' },
])('%j is allowed', (properties) => {
  expect(parseMysqlSettings({ connectionString, ...properties })).toMatchObject({
    publish: properties['publish'] ?? 'projections',
  })
})

test('durations are parsed as Dapr writes them', () => {
  const base = { connectionString: 'mongodb://h', databaseName: 'd', collectionName: 'c' }
  expect(['500ms', '1.5s', '250'].map((maxTime) => parseMongodbBindingSettings({ ...base, maxTime }).maxTime)).toEqual([
    500, 1_500, 250,
  ])
  expect(() => parseMongodbBindingSettings({ ...base, maxTime: 'soon' })).toThrow('maxTime')
})

test("a MongoDB store can be configured with the separate fields of Dapr's state.mongodb", () => {
  const connection = (properties: Record<string, string>) => parseMongodbSettings(properties).connectionString
  expect(connection({ host: 'h:1', username: 'u', password: 'p', params: 'replicaSet=r' })).toBe(
    'mongodb://u:p@h:1/daprStore?replicaSet=r',
  )
  expect(connection({ server: 's', params: '?w=1' })).toBe('mongodb+srv://s/?w=1')
  expect(() => connection({})).toThrow('connectionString')
})
