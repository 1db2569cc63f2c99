// A long Kafka outage: many rows wait, then all must be published in order and in bounded memory.
import { rmSync } from 'node:fs'
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { Kafka, logLevel } from 'kafkajs'
import { Binary, MongoClient, ObjectId } from 'mongodb'
import { createConnection, type RowDataPacket } from 'mysql2/promise'
import { poll } from '../../../platform/poll.ts'
import { residentBytes } from '../../../platform/process-info.ts'
import { startKafkaProxy } from '../../../platform/testing/tcp-proxy.ts'
import { startComponentProcess } from '../../../platform/testing/component-process.ts'
import { dropTopic, event, makeTopic, openStore, type StoreUnderTest } from '../stores.ts'

export type BacklogResult = {
  rows: number
  /** From the end of the outage until the last row was deleted. */
  drainMs: number
  rowsPerSecond: number
  /** The component's resident memory before the backlog, and its peak afterwards. */
  idleBytes: number
  peakBytes: number
  /** How many events arrived, without repeats, and how many of those out of order. */
  arrived: number
  outOfOrder: number
}

const keys = 10
const payloadBytes = 1_024

/**
 * Fills an outbox with rows of 1 KB while Kafka is unavailable, and drains it.
 * @param options.onProgress called with the number of arrived events
 * @throws Error when no event arrives for a minute
 */
export async function runBacklog(
  store: StoreUnderTest,
  rows: number,
  options: { onProgress?: (arrived: number) => void } = {},
): Promise<BacklogResult> {
  const [database, topic, kafka] = await Promise.all([
    store.createDatabase(),
    makeTopic(store.brokers),
    startKafkaProxy(store.brokers.split(',')[0] ?? ''),
  ])
  const component = await startComponentProcess(store.type)
  const client = openStore(component.socket)
  const arrivals = await watchOrder(store.brokers, topic)
  let sampling: NodeJS.Timeout | undefined
  try {
    await kafka.cut()
    await client.init({ ...database.properties, relayBrokers: `127.0.0.1:${kafka.port}`, relayTopic: topic })
    // The store itself writes each key's first event; the others are copies with their numbers.
    for (let key = 0; key < keys; key += 1) await client.transact([event(`k-${key}`, 'x'.repeat(payloadBytes))])
    const idleBytes = residentBytes(component.pid)
    let peakBytes = idleBytes
    // From here on, because it also tries to publish while rows are added.
    sampling = setInterval(() => (peakBytes = Math.max(peakBytes, residentBytes(component.pid))), 100)
    const perKey = Math.ceil(rows / keys)
    await (store.type === 'outbox-mysql' ? multiplyRows : multiplyDocuments)(database.properties, perKey)
    const waiting = await database.waiting()
    if (waiting !== keys * perKey) throw new Error(`${waiting} rows wait instead of ${keys * perKey}`)
    await kafka.restore()
    const began = performance.now()
    let last = { arrived: 0, at: began }
    // Rows are counted only at the end: counting a million rows five times per second would keep
    // the database busy.
    while (arrivals.count() < waiting || (await database.waiting()) > 0) {
      if (arrivals.count() > last.arrived) last = { arrived: arrivals.count(), at: performance.now() }
      if (performance.now() - last.at > 60_000)
        throw new Error(
          `${last.arrived} of ${waiting} events arrived, then none for a minute: ${component.output().slice(-1_000)}`,
        )
      options.onProgress?.(last.arrived)
      await sleep(200)
    }
    const drainMs = performance.now() - began
    return {
      rows: waiting,
      drainMs,
      rowsPerSecond: (waiting / drainMs) * 1_000,
      idleBytes,
      peakBytes,
      arrived: arrivals.count(),
      outOfOrder: arrivals.outOfOrder(),
    }
  } finally {
    clearInterval(sampling)
    client.close()
    await component.kill('SIGKILL')
    await kafka.close()
    await arrivals.close()
    rmSync(component.folder, { recursive: true, force: true })
    await Promise.all([database.drop(), dropTopic(store.brokers, topic)])
  }
}

/** Reads a topic and keeps only counts. */
async function watchOrder(brokers: string, topic: string) {
  const kafka = new Kafka({ brokers: brokers.split(','), logLevel: logLevel.NOTHING })
  const consumer = kafka.consumer({ groupId: `backlog-${randomUUID()}`, maxWaitTimeInMs: 250 })
  const last = new Map<string, number>()
  let count = 0
  let outOfOrder = 0
  await consumer.connect()
  await consumer.subscribe({ topic, fromBeginning: true })
  await consumer.run({
    eachBatch: async ({ batch }) => {
      for (const { key, value } of batch.messages) {
        const of = String(key)
        const sequence = Number(/"sequence":"(\d+)"/.exec(value?.toString('latin1') ?? '')?.[1])
        const before = last.get(of) ?? 0
        // Repeats are fine. Without a gap, all have arrived in order.
        if (sequence <= before) continue
        if (sequence !== before + 1) outOfOrder += 1
        count += 1
        last.set(of, sequence)
      }
    },
  })
  return { count: () => count, outOfOrder: () => outOfOrder, close: () => consumer.disconnect() }
}

/** Copies each row of the outbox, whatever its columns, numbered from 2. */
async function multiplyRows(properties: Record<string, string>, perKey: number): Promise<void> {
  const connection = await createConnection({ uri: properties['connectionString'] ?? '' })
  const [columns] = await connection.query<RowDataPacket[]>('SHOW COLUMNS FROM state_outbox')
  const names = columns.map((column) => String(column['Field'])).filter((name) => name !== 'id')
  const copied = names.map((name) => {
    if (name === 'sequence') return 'n.i'
    if (name === 'payload') return `REPLACE(payload, '"sequence":"1"', CONCAT('"sequence":"', n.i, '"'))`
    return name
  })
  await connection.query('CREATE TEMPORARY TABLE first_rows AS SELECT * FROM state_outbox')
  await connection.query('CREATE TEMPORARY TABLE numbers (i INT)')
  // In batches: a transaction of a gigabyte would be another test.
  for (let from = 2; from <= perKey; from += 1_000) {
    const numbers = Array.from({ length: Math.min(1_000, perKey - from + 1) }, (_, i) => `(${from + i})`)
    await connection.query('DELETE FROM numbers')
    await connection.query(`INSERT INTO numbers VALUES ${numbers.join(', ')}`)
    await connection.query(
      `INSERT INTO state_outbox (${names.join(', ')})
       SELECT ${copied.join(', ')} FROM first_rows CROSS JOIN numbers AS n ORDER BY n.i`,
    )
  }
  await connection.end()
}

async function multiplyDocuments(properties: Record<string, string>, perKey: number): Promise<void> {
  const client = await MongoClient.connect(properties['connectionString'] ?? '')
  const outbox = client
    .db(properties['databaseName'])
    .collection<{ position: number; sequence: number; payload: Binary }>('daprCollection_outbox')
  const first = await outbox.find().toArray()
  const batch = 500
  for (let from = 2; from <= perKey; from += batch) {
    const documents = Array.from({ length: Math.min(batch, perKey - from + 1) }, (_, i) =>
      first.map((document) => {
        const payload = Buffer.from(document.payload.value())
          .toString()
          .replace('"sequence":"1"', `"sequence":"${from + i}"`)
        return {
          ...document,
          _id: new ObjectId(),
          sequence: from + i,
          position: document.position + from + i - 1,
          payload: new Binary(Buffer.from(payload)),
        }
      }),
    )
    await outbox.insertMany(documents.flat())
  }
  await poll('all documents are inserted', async () => (await outbox.countDocuments()) === first.length * perKey)
  await client.close()
}
