// Runs a store as services see it: a real sidecar and outbox store, on a new database and topic.
import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Kafka, logLevel } from 'kafkajs'
import { createConnection } from 'mysql2/promise'
import type { Dapr } from '#lib/dapr.ts'
import { startComponentProcess } from './component-process.ts'
import { watchTopics } from './events.ts'
import { startSidecar } from './sidecar.ts'

export type Published = { type: string; key: string; sequence: string; data: Record<string, unknown> }

export type StoreSidecar = {
  dapr: Dapr
  /** For clients other than ours. */
  grpcPort: number
  apiToken: string
  /**
   * Waits for `count` events with this Kafka key, in all topics together, and returns them in the
   * order of their commits; those of one commit by type.
   */
  published: (key: string, count: number) => Promise<Published[]>
  /** Stops everything and removes its database and topic. */
  close: () => Promise<void>
}

/**
 * Starts `state.outbox-mysql` and a sidecar that uses it. Needs the servers of `*.int.test.ts`.
 * @param options.topics topics that events name instead of the store's own; other tests may use
 * them
 * @param options.ranges the name of a `bindings.mysql` component on the store's database
 * @param options.resources further Dapr resources, as YAML
 * @throws Error when one of them does not start
 */
export async function startStoreSidecar({
  appId,
  store,
  topics = [],
  ranges,
  resources = [],
}: {
  appId: string
  store: string
  topics?: string[]
  ranges?: string
  resources?: string[]
}): Promise<StoreSidecar> {
  const { TEST_MYSQL_URL, TEST_KAFKA_BROKERS } = process.env
  if (!TEST_MYSQL_URL || !TEST_KAFKA_BROKERS)
    throw new Error('TEST_MYSQL_URL and TEST_KAFKA_BROKERS are required: this helper is for *.int.test.ts')
  const closers: (() => unknown)[] = []
  const close = async () => {
    for (const closer of closers.splice(0).toReversed()) await closer()
  }
  try {
    const name = `test_${randomUUID().replaceAll('-', '')}`
    const folder = mkdtempSync(join(tmpdir(), 'sidecar-'))
    closers.push(() => rmSync(folder, { recursive: true, force: true }))

    const database = await createConnection({ uri: TEST_MYSQL_URL })
    await database.query(`CREATE DATABASE ${name}`)
    closers.push(async () => {
      await database.query(`DROP DATABASE ${name}`)
      await database.end()
    })
    const kafka = new Kafka({ brokers: TEST_KAFKA_BROKERS.split(','), logLevel: logLevel.NOTHING })
    const admin = kafka.admin()
    await admin.connect()
    await admin.createTopics({
      topics: [name, ...topics].map((topic) => ({ topic, numPartitions: 6, replicationFactor: 1 })),
    })
    closers.push(async () => {
      await admin.deleteTopics({ topics: [name] })
      await admin.disconnect()
    })
    const { eventsOf, close: stopWatching } = await watchTopics([name, ...topics])
    closers.push(stopWatching)

    const component = await startComponentProcess('outbox-mysql', folder)
    closers.push(() => component.kill('SIGTERM'))
    const url = new URL(TEST_MYSQL_URL)
    url.pathname = `/${name}`
    const metadata = {
      connectionString: url.href,
      relayBrokers: TEST_KAFKA_BROKERS,
      relayTopic: name,
      relaySource: appId,
    }
    const dsn = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}@tcp(${url.host})/${name}`
    const components = [
      { name: store, type: 'state.outbox-mysql', metadata },
      ...(ranges === undefined ? [] : [{ name: ranges, type: 'bindings.mysql', metadata: { url: dsn } }]),
    ]
    const {
      dapr,
      grpcPort,
      apiToken,
      close: closeSidecar,
    } = await startSidecar({ appId, components, resources, folder })
    closers.push(closeSidecar)

    const published = async (key: string, count: number): Promise<Published[]> =>
      (await eventsOf(key, count))
        // A sequence counts the events of one topic.
        .toSorted((a, b) => (`${a.time} ${a.type}` < `${b.time} ${b.type}` ? -1 : 1))
        .map(({ type, sequence, data }) => ({ type, key, sequence, data: data as Published['data'] }))
    return { dapr, grpcPort, apiToken, published, close }
  } catch (error) {
    await close()
    throw error
  }
}
