// No statement of the stores takes longer because there is more of everything: each is timed with
// 1,000 and with 200,000 documents or rows, by turns, in one run.
import { randomUUID } from 'node:crypto'
import { Binary, MongoClient, ObjectId } from 'mongodb'
import { createConnection } from 'mysql2/promise'
import { pino } from 'pino'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openMongo } from '../../host/mongodb.ts'
import type { StateStore } from '../../host/state-store.ts'
import type { RelaySource } from '../../outbox/relay-source.ts'
import { groupLimits } from '../../outbox/group-commit.ts'
import { deleteExpired as deleteExpiredDocuments } from '../../outbox-mongodb/expiry.ts'
import { openSessions } from '../../outbox-mongodb/open-sessions.ts'
import { createMongodbRelaySource } from '../../outbox-mongodb/relay-source.ts'
import { collectionsOf, migrate as migrateMongodb } from '../../outbox-mongodb/schema.ts'
import { createMongodbStore } from '../../outbox-mongodb/store.ts'
import { openDatabase } from '../../outbox-mysql/database.ts'
import { deleteExpired as deleteExpiredRows } from '../../outbox-mysql/expiry.ts'
import { parseMysqlSettings } from '../../outbox-mysql/metadata.ts'
import { createMysqlRelaySource } from '../../outbox-mysql/relay-source.ts'
import { migrate as migrateMysql, tablesOf } from '../../outbox-mysql/schema.ts'
import { createMysqlStore } from '../../outbox-mysql/store.ts'
import { mongodbUnderTest, mysqlUnderTest } from '../stores.ts'

const [few, many] = [1_000, 200_000]
const rounds = 41
const log = pino({ level: 'silent' })
const events = { publish: 'projections', maxEventBytes: 1_000_000, now: () => new Date() } as const
const value = Buffer.from(JSON.stringify({ padding: 'x'.repeat(80) }))

type Opened = {
  size: number
  store: Omit<StateStore, 'close'>
  source: RelaySource<unknown>
  deleteExpired(limit: number): Promise<number>
  close(): Promise<void>
}

/** Keys `k-0`, `k-1` and so on, with etags `e-0`, `e-1`; every fourth expires in a day. */
const key = (n: number) => `k-${n}`
const etag = (n: number) => `e-${n}`

async function openMysql(size: number): Promise<Opened> {
  const { properties, drop } = await mysqlUnderTest().createDatabase()
  const database = openDatabase(parseMysqlSettings(properties))
  const tables = tablesOf('state')
  await migrateMysql(database, tables)
  const connection = await createConnection({ uri: properties['connectionString'] ?? '' })
  for (let from = 0; from < size; from += 10_000) {
    const numbers = Array.from({ length: Math.min(10_000, size - from) }, (_, n) => from + n)
    const tomorrow = new Date(Date.now() + 86_400_000)
    await connection.query('INSERT INTO state (id, value, isbinary, eTag, expiredate) VALUES ?', [
      numbers.map((n) => [key(n), value.toString(), 0, etag(n), n % 4 === 0 ? tomorrow : null]),
    ])
    await connection.query('INSERT INTO state_outbox_sequence (partition_key, last) VALUES ?', [
      numbers.map((n) => [key(n), 1]),
    ])
    await connection.query('INSERT INTO state_outbox (partition_key, sequence, event_id, bytes, payload) VALUES ?', [
      numbers.map((n) => [key(n), 1, 'id', value.length, value]),
    ])
  }
  await connection.end()
  return {
    size,
    store: createMysqlStore({
      database,
      tables,
      events,
      groups: groupLimits,
      onEvents: () => {},
      routedTopic: undefined,
      log,
    }),
    source: createMysqlRelaySource(database, tables),
    deleteExpired: (limit) => deleteExpiredRows(database, tables, limit),
    async close() {
      await database.close()
      await drop()
    },
  }
}

async function openMongodb(size: number): Promise<Opened> {
  const { properties, name, drop } = await mongodbUnderTest().createDatabase()
  const uri = properties['connectionString'] ?? ''
  const client = openMongo(uri, 10)
  const db = client.db(name)
  const collections = collectionsOf(db, 'state')
  await migrateMongodb(db, collections)
  const filler = (await MongoClient.connect(uri)).db(name)
  const insert = (collection: string, documents: object[]) =>
    filler.collection(collection).insertMany(documents, { ordered: false })
  for (let from = 0; from < size; from += 10_000) {
    const numbers = Array.from({ length: Math.min(10_000, size - from) }, (_, n) => from + n)
    const tomorrow = new Date(Date.now() + 86_400_000)
    await insert(
      'state',
      numbers.map((n) => ({
        _id: key(n),
        value: JSON.parse(value.toString()),
        _etag: etag(n),
        _ttl: n % 4 === 0 ? tomorrow : null,
      })),
    )
    await insert(
      'state_outbox_sequence',
      numbers.map((n) => ({ _id: key(n), last: 1, position: n })),
    )
    await insert(
      'state_outbox',
      numbers.map((n) => ({
        _id: new ObjectId(),
        partitionKey: key(n),
        sequence: 1,
        position: n,
        bytes: value.length,
        payload: new Binary(value),
        created: new Date(),
      })),
    )
  }
  await filler.client.close()
  const now = () => new Date()
  return {
    size,
    store: createMongodbStore({
      client,
      db,
      collections,
      now,
      events,
      log,
      groups: groupLimits,
      onEvents: () => {},
      routedTopic: undefined,
      sessions: openSessions(client, `/dev/null`, log),
    }),
    source: createMongodbRelaySource(collections, now, log) as RelaySource<unknown>,
    deleteExpired: (limit) => deleteExpiredDocuments(collections, now(), limit),
    async close() {
      await client.close()
      await drop()
    },
  }
}

const set = (of: string, more: { etag?: string; ttlSeconds?: number } = {}, firstWrite = false) => ({
  kind: 'set' as const,
  key: of,
  value,
  firstWrite,
  metadata: {},
  ...more,
})
const event = (of: string) => ({ ...set(of), metadata: { 'outbox.projection': 'true', 'cloudevent.type': 't' } })
const anyOf = (size: number) => Math.floor(Math.random() * size)
const rejected = (work: Promise<unknown>) =>
  work.then(
    () => {
      throw new Error('expected ETAG_MISMATCH')
    },
    (error: { code?: string }) => {
      if (error.code !== 'ETAG_MISMATCH') throw error
    },
  )

/** Makes a statement ready, and returns it to be timed. */
type Statement = (opened: Opened) => Promise<() => Promise<unknown>>

const someKeys = (size: number, count: number) => [...new Set(Array.from({ length: count }, () => key(anyOf(size))))]

async function withEtag({ store, size }: Opened): Promise<{ of: string; etag: string }> {
  const of = key(anyOf(size))
  return { of, etag: (await store.get(of))?.etag ?? '' }
}

const statements: Record<string, Statement> = {
  get:
    async ({ store, size }) =>
    () =>
      store.get(key(anyOf(size))),
  'bulk get of 20':
    async ({ store, size }) =>
    () =>
      store.bulkGet(someKeys(size, 20)),
  set:
    async ({ store, size }) =>
    () =>
      store.set(set(key(anyOf(size)))),
  'set with an etag': async (opened) => {
    const { of, ...more } = await withEtag(opened)
    return () => opened.store.set(set(of, more))
  },
  'set with a wrong etag':
    async ({ store, size }) =>
    () =>
      rejected(store.set(set(key(anyOf(size)), { etag: 'no' }))),
  'first write':
    async ({ store }) =>
    () =>
      store.set(set(randomUUID(), {}, true)),
  'first write of what exists':
    async ({ store, size }) =>
    () =>
      rejected(store.set(set(key(anyOf(size)), {}, true))),
  delete: async ({ store }) => {
    const of = randomUUID()
    await store.set(set(of))
    return () => store.delete({ kind: 'delete', key: of, metadata: {} })
  },
  'delete with an etag': async ({ store }) => {
    const of = randomUUID()
    await store.set(set(of))
    const etag = (await store.get(of))?.etag ?? ''
    return () => store.delete({ kind: 'delete', key: of, etag, metadata: {} })
  },
  'delete with a wrong etag':
    async ({ store, size }) =>
    () =>
      rejected(store.delete({ kind: 'delete', key: key(anyOf(size)), etag: 'no', metadata: {} })),
  'transaction of 20 writes and 6 events': async ({ store, size }) => {
    const found = await store.bulkGet(someKeys(size, 15))
    const events = [...someKeys(size, 4), randomUUID(), randomUUID()].map(event)
    const news = Array.from({ length: 5 }, () => set(randomUUID(), {}, true))
    const writes = [...found].map(([of, { etag }]) => set(of, { etag }))
    return () => store.transact([...writes, ...news, ...events], {})
  },
  'look for what has expired':
    async ({ deleteExpired }) =>
    () =>
      deleteExpired(500),
  'take and release the lease':
    async ({ source }) =>
    async () => {
      const lease = await source.acquireLease(4_000)
      if (!lease) throw new Error('another has the lease')
      await source.releaseLease(lease)
    },
  'read from the outbox':
    async ({ source }) =>
    () =>
      source.read({ rows: 10, bytes: 1_000_000 }),
  'remove from the outbox': async ({ source }) => {
    const lease = await source.acquireLease(60_000)
    if (!lease) throw new Error('another has the lease')
    const rows = await source.read({ rows: 10, bytes: 1_000_000 })
    return async () => {
      if (!(await source.remove(rows, lease))) throw new Error('nothing was removed')
      await source.releaseLease(lease)
    }
  },
}

const medianOf = (times: number[]) => times.toSorted((a, b) => a - b)[times.length >> 1] ?? 0

describe.each([
  ['outbox-mysql', openMysql],
  ['outbox-mongodb', openMongodb],
] as const)('state.%s', (_, open) => {
  let small: Opened
  let large: Opened
  beforeAll(async () => {
    small = await open(few)
    large = await open(many)
  }, 300_000)
  afterAll(async () => {
    await small?.close()
    await large?.close()
  }, 60_000)

  test.each(Object.entries(statements))('%s takes as long with 200 times as many', async (name, statement) => {
    const times = new Map<Opened, number[]>([
      [small, []],
      [large, []],
    ])
    const medians = () => [...times.values()].map(medianOf)
    const isSlower = () => {
      const [one = 0, other = 0] = medians()
      return other >= 2 * one
    }
    // More rounds if they show otherwise: a busy machine can double the median of half a
    // millisecond, but not for long. What walks a collection takes 40 times as long.
    for (let round = 0; round < rounds || (isSlower() && round < 10 * rounds); round += 1) {
      for (const [opened, own] of times) {
        const run = await statement(opened)
        const began = performance.now()
        await run()
        own.push(performance.now() - began)
      }
    }
    if (process.env['PRINT_TIMES'])
      console.log(
        name,
        medians().map((each) => each.toFixed(2)),
      )
    const [one, other] = medians()
    expect(other).toBeLessThan(2 * (one ?? 0))
  })
})
