import { randomUUID } from 'node:crypto'
import { Binary, MongoClient, type ChangeStreamDocument } from 'mongodb'
import { createConnection, type RowDataPacket } from 'mysql2/promise'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startBinlogServer, type BinlogEvent } from '../../../platform/testing/binlog-server.ts'
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
} from '../stores.ts'

// Kafka Connect does not run here. These tests read what its connectors would read: the binary log
// and the change stream.

/** A row, with the names of Debezium's event router. */
type Row = { id: string; aggregatetype: string; aggregateid: string; type: string; payload: string }

/** A change in the database's log. A row's insertion and deletion have the same `identity`. */
type Change = { transaction: string; op: string; identity: string; row?: Row }

type Reader = {
  store: StoreUnderTest
  database: TestDatabase
  /** Returns the changes to the router's table since the last call. */
  changes(): Promise<Change[]>
  /** Counts the rows that a query finds. */
  left(): Promise<number>
  close(): Promise<void>
}

const topic = 'orders'

/** Returns the envelope as the relay sends it; only the time comes from the payload. */
const envelope = (key: string, sequence: number, data: unknown, payload: string) =>
  JSON.stringify({
    specversion: '1.0',
    id: `${key}-${sequence}`,
    source: 'app',
    type: 'test.happened.v1',
    time: (JSON.parse(payload) as { time: string }).time,
    datacontenttype: 'application/json',
    partitionkey: key,
    sequence: String(sequence),
    data,
  })

/**
 * Returns the rows by transaction.
 * @throws Error when a transaction left one of them in the table
 */
function passedThrough(changes: Change[]): Row[][] {
  const transactions = Map.groupBy(changes, ({ transaction }) => transaction)
  return [...transactions.values()].map((own) => {
    const rows: Row[] = []
    const inTable = new Set<string>()
    for (const { op, identity, row } of own) {
      if (op === 'insert' && row && !inTable.has(identity)) {
        inTable.add(identity)
        rows.push(row)
      } else if (op !== 'delete' || !inTable.delete(identity)) throw new Error(`unexpected ${op} of ${identity}`)
    }
    if (inTable.size > 0) throw new Error(`left in the table: ${[...inTable].join()}`)
    return rows
  })
}

function describeRelayNone(type: StoreUnderTest['type'], open: () => Promise<Reader>): void {
  describe(`state.${type}`, () => {
    let component: ComponentProcess
    let client: StoreClient
    let reader: Reader
    beforeAll(async () => {
      component = await startComponentProcess(type)
      client = openStore(component.socket)
      reader = await open()
      await client.init({ ...reader.database.properties, relay: 'none', relayTopic: topic })
      await reader.changes()
    })
    afterAll(async () => {
      client?.close()
      await component?.kill('SIGKILL')
      await reader?.close()
    })
    const numbered = (key: string, sequence: number, data: unknown) =>
      event(key, data, { 'cloudevent.id': `${key}-${sequence}` })

    test('events are inserted and deleted within their transaction, as Debezium expects', async () => {
      await client.transact([
        { key: 'o-1', value: { n: 1 } },
        numbered('o-1', 1, { text: 'grün' }),
        numbered('o-1', 2, 2),
        numbered('o-2', 1, 'x'.repeat(70_000)),
      ])
      await client.transact([numbered('o-1', 3, { last: true })])
      const transactions = passedThrough(await reader.changes())
      expect(
        transactions.map((rows) =>
          rows.map(({ id, aggregatetype, aggregateid, type: eventType }) => ({
            id,
            aggregatetype,
            aggregateid,
            type: eventType,
          })),
        ),
      ).toEqual([
        [
          { id: 'o-1-1', aggregatetype: topic, aggregateid: 'o-1', type: 'test.happened.v1' },
          { id: 'o-1-2', aggregatetype: topic, aggregateid: 'o-1', type: 'test.happened.v1' },
          { id: 'o-2-1', aggregatetype: topic, aggregateid: 'o-2', type: 'test.happened.v1' },
        ],
        [{ id: 'o-1-3', aggregatetype: topic, aggregateid: 'o-1', type: 'test.happened.v1' }],
      ])
      const payloads = transactions.flat().map(({ payload }) => payload)
      const expected: [string, number, unknown][] = [
        ['o-1', 1, { text: 'grün' }],
        ['o-1', 2, 2],
        ['o-2', 1, 'x'.repeat(70_000)],
        ['o-1', 3, { last: true }],
      ]
      expect(payloads).toEqual(
        expected.map(([key, sequence, data], n) => envelope(key, sequence, data, payloads[n] ?? '{}')),
      )
      expect([await reader.left(), await reader.database.waiting()]).toEqual([0, 0])
      expect(await client.json('o-1')).toEqual({ n: 1 })
    })

    test('an event with a topic of its own is routed there, with numbers of its own', async () => {
      const elsewhere = (n: number) => event('e', n, { relayTopic: 'elsewhere' })
      await client.transact([event('e', 1), elsewhere(2), elsewhere(3)])
      await Promise.all([client.transact([event('e', 4)]), client.transact([elsewhere(5)])])
      const rows = passedThrough(await reader.changes()).flat()
      expect(
        rows.map(({ aggregatetype, aggregateid, payload }) => {
          const { sequence, data } = JSON.parse(payload) as { sequence: string; data: number }
          return `${aggregatetype} ${aggregateid} ${sequence} ${data}`
        }),
      ).toEqual(
        expect.arrayContaining([
          `${topic} e 1 1`,
          'elsewhere e 1 2',
          'elsewhere e 2 3',
          `${topic} e 2 4`,
          'elsewhere e 3 5',
        ]),
      )
      expect(rows).toHaveLength(5)
    })

    test('a rolled-back transaction leaves nothing, and its number is reused', async () => {
      await client.transact([numbered('r', 1, 'first')])
      await failure(client.transact([numbered('r', 2, 'undone'), { key: 'r', value: 1, etag: 'wrong' }]))
      await client.transact([numbered('r', 2, 'second')])
      const data = passedThrough(await reader.changes())
        .flat()
        .map(({ payload }) => (JSON.parse(payload) as { data: unknown }).data)
      expect(data).toEqual(['first', 'second'])
    })

    test('events with the same id, in one transaction and concurrently, do not conflict', async () => {
      const twin = (key: string) => event(key, 1, { 'cloudevent.id': 'twin' })
      await client.transact([twin('t-1'), twin('t-2')])
      await Promise.all(Array.from({ length: 10 }, (_, n) => client.transact([twin(`t-${n}`)])))
      expect(passedThrough(await reader.changes()).flat()).toHaveLength(12)
    })

    test('concurrent writers keep the order of their numbers', async () => {
      await Promise.all(Array.from({ length: 200 }, (_, n) => client.transact([event(`many-${n % 20}`, n)])))
      const rows = passedThrough(await reader.changes()).flat()
      const numbers = Map.groupBy(
        rows.map(({ payload }) => JSON.parse(payload) as { partitionkey: string; sequence: string }),
        ({ partitionkey }) => partitionkey,
      )
      expect(numbers.size).toBe(20)
      for (const events of numbers.values())
        expect(events.map(({ sequence }) => sequence)).toEqual(['1', '2', '3', '4', '5', '6', '7', '8', '9', '10'])
    })

    test('it is refused while events from another setting still wait for the relay', async () => {
      const other = openStore(component.socket, 'other')
      const database = await reader.store.createDatabase()
      const target = await createTopic(reader.store.brokers)
      try {
        // No broker listens there.
        const properties = { ...database.properties, relayTopic: target.name }
        await other.init({ ...properties, relayBrokers: '127.0.0.1:1' })
        await other.transact([event('w', 1)])
        expect((await failure(other.init({ ...properties, relay: 'none' }))).details).toMatch(
          /^INVALID_SETTING: .*"relay": 1 event/,
        )
        await other.init({ ...properties, relayBrokers: reader.store.brokers })
        await poll(
          'the relay has published it',
          async () => target.ofKey('w').length === 1 && (await database.waiting()) === 0,
        )
        await other.init({ ...properties, relay: 'none' })
        await other.transact([event('w', 2)])
        expect(await database.waiting()).toBe(0)
      } finally {
        other.close()
        await target.drop()
        await database.drop()
      }
    })
  })
}

/**
 * Parses a row event, version 1 or 2, of MySQL's or MariaDB's binary log for `state_outbox_router`.
 */
function rowsOf(body: Buffer, version2: boolean): { identity: string; row: Row }[] {
  // Table id and flags; in version 2, extra data after its length; then six columns, all present.
  let at = 8 + (version2 ? body.readUInt16LE(8) : 0)
  if (body.readUInt16BE(at) !== 0x06_3f) throw new Error('not whole rows of six columns')
  at += 2
  const text = (lengthBytes: number) => {
    const length = body.readUIntLE(at, lengthBytes)
    const value = body.subarray(at + lengthBytes, at + lengthBytes + length).toString('utf8')
    at += lengthBytes + length
    return value
  }
  const rows: { identity: string; row: Row }[] = []
  // The last four bytes are a checksum.
  while (at < body.length - 4) {
    if (body[at] !== 0b1100_0000) throw new Error('a column is NULL')
    at += 1
    const [id, aggregatetype, aggregateid] = [text(2), text(2), text(2)]
    const sequence = body.readBigInt64LE(at)
    at += 8
    rows.push({
      identity: `${aggregatetype} ${aggregateid} ${sequence}`,
      row: { id, aggregatetype, aggregateid, type: text(2), payload: text(4) },
    })
  }
  return rows
}

function changesOf(events: BinlogEvent[]): Change[] {
  const changes: Change[] = []
  let transaction = 0
  let routerTable: string | undefined
  for (const { type, info, body } of events) {
    const table = /table_id: (\d+)/.exec(info)?.[1]
    if (type === 'Table_map' && info.includes('.state_outbox_router)')) routerTable = table
    if (type === 'Xid') transaction += 1
    if (table !== routerTable) continue
    const op = type.startsWith('Write_rows') ? 'insert' : type.startsWith('Delete_rows') ? 'delete' : undefined
    if (op)
      changes.push(
        ...rowsOf(body, !type.endsWith('_v1')).map((each) => ({ transaction: String(transaction), op, ...each })),
      )
  }
  return changes
}

describeRelayNone('outbox-mysql', async () => {
  const server = await startBinlogServer()
  const store = mysqlUnderTest(server.url)
  const database = await store.createDatabase()
  let from: number | undefined
  return {
    store,
    database,
    async changes() {
      const { events, end } = await server.events(from)
      from = end
      return changesOf(events)
    },
    async left() {
      const connection = await createConnection({ uri: server.url })
      const [rows] = await connection.query<RowDataPacket[]>(
        `SELECT COUNT(*) AS n FROM ${database.name}.state_outbox_router`,
      )
      await connection.end()
      return Number(rows[0]?.['n'])
    },
    close: () => server.close(),
  }
})

test('MySQL without full rows in its binary log is refused, since events would be lost', async () => {
  const server = await startBinlogServer(['--binlog-format=MIXED', '--binlog-row-image=MINIMAL'])
  const component = await startComponentProcess('outbox-mysql')
  const client = openStore(component.socket)
  try {
    const { properties } = await mysqlUnderTest(server.url).createDatabase()
    const { details } = await failure(client.init({ ...properties, relay: 'none', relayTopic: topic }))
    expect(details).toMatch(/^INVALID_SETTING: .*"relay".*binlog_format is MIXED.*binlog_row_image is MINIMAL/)
  } finally {
    client.close()
    await component.kill('SIGKILL')
    await server.close()
  }
})

describeRelayNone('outbox-mongodb', async () => {
  const store = mongodbUnderTest()
  const database = await store.createDatabase()
  const client = await MongoClient.connect(process.env['TEST_MONGODB_URI'] ?? '')
  const db = client.db(database.name)
  const collection = db.collection('daprCollection_outbox_router')
  const seen: ChangeStreamDocument[] = []
  const stream = db.watch()
  stream.on('change', (change) => seen.push(change))
  return {
    store,
    database,
    async changes() {
      // When a marker has arrived, so has everything before it.
      const mark = randomUUID()
      await poll('the change stream has caught up', async () => {
        await db.collection<{ _id: string }>('marks').updateOne({ _id: mark }, { $inc: { n: 1 } }, { upsert: true })
        return seen.some((change) => 'documentKey' in change && String(change.documentKey?._id) === mark)
      })
      return seen.splice(0).flatMap((change): Change[] => {
        if (!('documentKey' in change) || change.ns.coll !== collection.collectionName) return []
        const about = {
          transaction: JSON.stringify([change.lsid, change.txnNumber]),
          op: change.operationType,
          identity: String(change.documentKey?._id),
        }
        if (change.operationType !== 'insert') return [about]
        const { _id, payload, ...rest } = change.fullDocument as unknown as Omit<Row, 'id' | 'payload'> & {
          _id: string
          payload: Binary
        }
        return [{ ...about, row: { id: _id, ...rest, payload: Buffer.from(payload.value()).toString() } }]
      })
    },
    left: () => collection.countDocuments(),
    async close() {
      await stream.close()
      await client.close()
      await database.drop()
    },
  }
})
