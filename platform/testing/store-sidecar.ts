// A service's store as the service meets it: a real sidecar with a real outbox store on a database
// and a topic of its own.
import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Kafka, logLevel } from 'kafkajs'
import { createConnection } from 'mysql2/promise'
import type { Dapr } from '#lib/dapr.ts'
import { startComponentProcess } from './component-process.ts'
import { watchTopic } from './events.ts'
import { startSidecar } from './sidecar.ts'

export type Published = { type: string; key: string; sequence: string; data: Record<string, unknown> }

export type StoreSidecar = {
  dapr: Dapr
  /** For other clients than ours. */
  grpcPort: number
  apiToken: string
  /**
   * Waits until `count` events of this Kafka key have been published, and answers all there are, in
   * their order.
   */
  published: (key: string, count: number) => Promise<Published[]>
  /** Ends all of it and removes what it made. */
  close: () => Promise<void>
}

/**
 * Starts `state.outbox-mysql` and a sidecar that uses it. Needs the servers of `*.int.test.ts`.
 * @param o.resources further Dapr resources, as YAML
 * @throws Error when one of them does not come up
 */
export async function startStoreSidecar(o: {
  appId: string
  store: string
  resources?: string[]
}): Promise<StoreSidecar> {
  const { TEST_MYSQL_URL, TEST_KAFKA_BROKERS } = process.env
  if (!TEST_MYSQL_URL || !TEST_KAFKA_BROKERS)
    throw new Error('TEST_MYSQL_URL and TEST_KAFKA_BROKERS are not set: is this not an .int.test.ts?')
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
    await admin.createTopics({ topics: [{ topic: name, numPartitions: 6, replicationFactor: 1 }] })
    closers.push(async () => {
      await admin.deleteTopics({ topics: [name] })
      await admin.disconnect()
    })
    const { eventsOf, close: stopWatching } = await watchTopic(name)
    closers.push(stopWatching)

    const component = await startComponentProcess('outbox-mysql', folder)
    closers.push(() => component.kill('SIGTERM'))
    const url = new URL(TEST_MYSQL_URL)
    url.pathname = `/${name}`
    const metadata = {
      connectionString: url.href,
      relayBrokers: TEST_KAFKA_BROKERS,
      relayTopic: name,
      relaySource: o.appId,
    }
    const components = [{ name: o.store, type: 'state.outbox-mysql', metadata }]
    const {
      dapr,
      grpcPort,
      apiToken,
      close: closeSidecar,
    } = await startSidecar({ appId: o.appId, components, resources: o.resources ?? [], folder })
    closers.push(closeSidecar)

    const published = async (key: string, count: number): Promise<Published[]> =>
      (await eventsOf(key, count)).map(({ type, sequence, data }) => ({
        type,
        key,
        sequence,
        data: data as Published['data'],
      }))
    return { dapr, grpcPort, apiToken, published, close }
  } catch (error) {
    await close()
    throw error
  }
}
