import { rmSync } from 'node:fs'
import { Kafka, logLevel, Partitioners, type Producer } from 'kafkajs'
import { createConnection, type RowDataPacket } from 'mysql2/promise'
import { pino } from 'pino'
import { describe, expect, test } from 'vitest'
import { startKafkaProxy, type TcpProxy } from '../../../platform/testing/tcp-proxy.ts'
import { poll } from '../../../platform/poll.ts'
import { startComponentProcess } from '../../../platform/testing/component-process.ts'
import { parseMysqlSettings } from '../../outbox-mysql/metadata.ts'
import { openDatabase } from '../../outbox-mysql/database.ts'
import { createMysqlRelaySource } from '../../outbox-mysql/relay-source.ts'
import { migrate, tablesOf } from '../../outbox-mysql/schema.ts'
import { createKafkaPublisher } from '../../outbox/kafka-publisher.ts'
import type { Lease, RelaySource } from '../../outbox/relay-source.ts'
import { relayDefaults, startRelay, type Publisher } from '../../outbox/relay.ts'
import { dropTopic, makeTopic, mysqlUnderTest, openStore, type StoreClient } from '../stores.ts'
import type { Violation } from './checker.ts'
import { readTopic } from './read-topic.ts'
import { createRecorder } from './recorder.ts'

// Tests the checker itself: relays with planted faults on a real database and broker must be
// caught, and the relay in use must pass the same treatment.

const brokers = process.env['TEST_KAFKA_BROKERS'] ?? ''
const silent = pino({ level: 'silent' })
const slowKey = 'slow'
const slowMs = 700

type Source = RelaySource<number>
type Relayed = {
  source?: (real: Source) => Source
  publisher?: (settings: { broker: string; topic: string }) => Publisher
}

type Stage = {
  proxy: TcpProxy
  /** Commits state and event of this key through the first or the second component. */
  write: (component: 'first' | 'second', key: string) => Promise<unknown>
  /** Starts a transaction that has its number in the outbox but commits only after a while. */
  writeSlowly: () => Promise<{ committed: Promise<unknown> }>
  arrived: (key: string) => Promise<void>
  /** How often publishing has failed. */
  failures: () => number
}

/**
 * Runs `act` on a relay with these parts (by default the ones in use) and returns the checker's
 * findings.
 */
async function violationsOf(
  { source, publisher }: Relayed,
  act: (stage: Stage) => Promise<void>,
): Promise<Violation[]> {
  const database = await mysqlUnderTest().createDatabase()
  const topic = await makeTopic(brokers, 1)
  const proxy = await startKafkaProxy(brokers)
  const pool = openDatabase(parseMysqlSettings({ ...database.properties, maxConnections: '4' }))
  const tables = tablesOf('state')
  await migrate(pool, tables)
  const admin = await createConnection({ uri: database.properties['connectionString'] ?? '' })
  // The row has its number by then, and other transactions can commit before it.
  await admin.query(
    `CREATE TRIGGER slow AFTER INSERT ON ${tables.outbox} FOR EACH ROW
     BEGIN IF NEW.partition_key = '${slowKey}' THEN DO SLEEP(${slowMs / 1_000}); END IF; END`,
  )

  const real = createMysqlRelaySource(pool, tables)
  const broker = `127.0.0.1:${proxy.port}`
  const usual = () =>
    createKafkaPublisher({ brokers: [broker], topic, clientId: 'test', sendLimitMs: relayDefaults.sendLimitMs }, silent)
  let failures = 0
  const metrics = { relayed: () => {}, failed: () => (failures += 1), leader: () => {} }
  // It leads before the components' own relays start, and keeps the lease.
  const relay = startRelay(source?.(real) ?? real, publisher?.({ broker, topic }) ?? usual(), metrics, silent, {
    ...relayDefaults,
    batchRows: 1,
    // It leads alone until the components start, and is to see their first commits at once.
    pollAloneMs: relayDefaults.pollMaxMs,
  })

  const components = await Promise.all([startComponentProcess('outbox-mysql'), startComponentProcess('outbox-mysql')])
  const clients = components.map(({ socket }) => openStore(socket)) as [StoreClient, StoreClient]
  const recorder = createRecorder()
  try {
    await poll('the relay leads', async () => {
      const [rows] = await admin.query<RowDataPacket[]>(`SELECT token FROM ${tables.lease}`)
      return Number(rows[0]?.['token']) > 0
    })
    for (const client of clients)
      await client.init({ ...database.properties, relayBrokers: '127.0.0.1:1', relayTopic: topic })
    await act({
      proxy,
      failures: () => failures,
      write: (component, key) => recorder.write(clients[component === 'first' ? 0 : 1], [key]),
      async writeSlowly() {
        const committed = recorder.write(clients[0], [slowKey])
        const isSlow = async () => {
          const [rows] = await admin.query<RowDataPacket[]>(
            "SELECT 1 FROM information_schema.processlist WHERE state = 'User sleep'",
          )
          return rows.length > 0
        }
        await poll('it has its number', isSlow, { intervalMs: 20 })
        return { committed }
      },
      arrived: async (key) =>
        void (await poll(key, async () => (await readTopic(brokers, topic)).some((each) => each.key === key), {
          timeoutMs: 20_000,
        })),
    })
    return await recorder.violations(database, brokers, topic)
  } finally {
    for (const client of clients) client.close()
    await Promise.all(components.map((component) => component.kill('SIGKILL')))
    await relay.close()
    await pool.close()
    await proxy.close()
    await admin.end()
    for (const { folder } of components) rmSync(folder, { recursive: true, force: true })
    await Promise.all([database.drop(), dropTopic(brokers, topic)])
  }
}

const kinds = (violations: Violation[]) => [...new Set(violations.map(({ kind }) => kind))]

describe('Kafka is unavailable for a moment', () => {
  const act = async ({ proxy, write, arrived, failures }: Stage) => {
    await write('first', 'a')
    await arrived('a')
    await proxy.cut()
    await write('first', 'b')
    await poll('publishing fails', () => failures() > 0)
    await proxy.restore()
    await write('first', 'b')
    await write('first', 'last')
    await arrived('last')
  }

  /** A source that deletes rows before they are published. */
  const acknowledgesFirst = (real: Source): Source => {
    let lease: Lease | undefined
    return {
      ...real,
      acquireLease: async (ms) => (lease = await real.acquireLease(ms)),
      async read(limits) {
        const rows = await real.read(limits)
        if (lease && rows.length > 0) await real.remove(rows, lease)
        return rows
      },
      remove: async () => true,
    }
  }

  test('a relay that deletes before it publishes is caught', async () => {
    expect(kinds(await violationsOf({ source: acknowledgesFirst }, act))).toEqual(['lost event', 'gap'])
  }, 60_000)

  test('the relay in use passes', async () => {
    expect(await violationsOf({}, act)).toEqual([])
  }, 60_000)
})

describe('a transaction with a lower number commits late', () => {
  const act = async ({ write, writeSlowly, arrived }: Stage) => {
    await write('second', 'a')
    const { committed } = await writeSlowly()
    await write('second', 'b')
    await arrived('b')
    await committed
    await write('second', 'last')
    await arrived('last')
  }

  /** A source that reads only past its last position. */
  const readsAfterTheLast = (real: Source): Source => {
    let last = 0
    return {
      ...real,
      read: async () =>
        (await real.read({ rows: 100, bytes: 1_000_000 })).filter(({ position }) => position > last).slice(0, 1),
      async remove(rows, lease) {
        last = Math.max(last, ...rows.map(({ position }) => position))
        return real.remove(rows, lease)
      },
    }
  }

  test('a reader that only reads past the last number is caught', async () => {
    expect(kinds(await violationsOf({ source: readsAfterTheLast }, act))).toEqual(['lost event'])
  }, 60_000)

  test('the reader in use passes', async () => {
    expect(await violationsOf({}, act)).toEqual([])
  }, 60_000)
})

describe("Kafka's response is lost, and the next batch of the same length starts with a lower number", () => {
  const act = async ({ proxy, write, writeSlowly, arrived, failures }: Stage) => {
    await write('second', 'a')
    await arrived('a')
    const { committed } = await writeSlowly()
    proxy.dropAnswers()
    await write('second', 'b')
    await arrived('b')
    await committed
    await poll('publishing fails', () => failures() > 0)
    await proxy.restore()
    await write('second', 'last')
    await arrived('last')
  }

  /** A publisher that keeps its producer after a failed send. */
  const reusesItsProducer = ({ broker, topic }: { broker: string; topic: string }): Publisher => {
    const kafka = new Kafka({ brokers: [broker], requestTimeout: 1_000, logLevel: logLevel.NOTHING })
    let producer: Promise<Producer> | undefined
    const connect = async () => {
      const retry = { retries: 1, initialRetryTime: 50 }
      const created = kafka.producer({
        idempotent: true,
        maxInFlightRequests: 1,
        createPartitioner: Partitioners.JavaCompatiblePartitioner,
        retry,
      })
      await created.connect()
      return created
    }
    return {
      async publish(rows) {
        producer ??= connect()
        await (
          await producer
        ).send({ topic, acks: -1, messages: rows.map((row) => ({ key: row.partitionKey, value: row.payload })) })
      },
      close: async () => void (await (await producer)?.disconnect()),
    }
  }

  test('a producer that is reused is caught', async () => {
    expect(kinds(await violationsOf({ publisher: reusesItsProducer }, act))).toEqual(['lost event'])
  }, 60_000)

  test('the publisher in use passes', async () => {
    expect(await violationsOf({}, act)).toEqual([])
  }, 60_000)
})
