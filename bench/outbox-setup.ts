// Everything that one database is measured with: three ways to commit a change and publish its
// event, side by side.
import { randomBytes } from 'node:crypto'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Kafka, logLevel } from 'kafkajs'
import { MongoClient } from 'mongodb'
import { createConnection } from 'mysql2/promise'
import { z } from 'zod'
import type { StateStore } from '#lib/dapr.ts'
import { startComponentProcess } from '../platform/testing/component-process.ts'
import { startChild } from '../platform/child.ts'
import { poll } from '../platform/poll.ts'
import { watchArrivals } from './arrivals.ts'
import { createPlainMongodb } from './plain-mongodb.ts'
import { createPlainMysql } from './plain-mysql.ts'
import { createPlainProducer } from './plain-producer.ts'
import { startSidecar, type DaprComponent } from '../platform/testing/sidecar.ts'
import { createChanges, type Way, type WayName } from './outbox-path.ts'

export type DatabaseName = 'mysql' | 'mongodb'

export type Rig = {
  ways: Record<WayName, Way>
  /**
   * Reads one of `keys` keys that hold the same values, by our store and by Dapr's own component,
   * through the same sidecar.
   */
  get: Record<'ours' | 'dapr', () => Promise<unknown>>
  /** A change sent through the same sidecar to a store that does nothing with it. */
  nothing: Way['transact']
  /**
   * Ours through a second sidecar and component on the same database, while the first one leads.
   */
  startReplica: () => Promise<{ way: Way; close: () => Promise<void> }>
  versions: Record<string, string>
  durability: Record<string, string>
  close: () => Promise<void>
}

export type Servers = { mysqlUrl: string; mongodbUri: string; kafkaBrokers: string; daprd: string }

const partitions = 6

/**
 * Makes databases and topics of its own, starts the sidecar and the component, and sends one change
 * through each way. @throws Error when a part does not come up
 */
export async function createRig(database: DatabaseName, servers: Servers): Promise<Rig> {
  const closers: (() => unknown)[] = []
  const close = async () => {
    const failures: unknown[] = []
    for (const closer of closers.splice(0).toReversed())
      await Promise.try(closer).catch((error: unknown) => failures.push(error))
    if (failures.length > 0) throw failures[0]
  }
  try {
    const name = `bench_${randomBytes(4).toString('hex')}`
    const folder = mkdtempSync(join(tmpdir(), 'bench-'))
    closers.push(() => rmSync(folder, { recursive: true, force: true }))
    const backend = await (database === 'mysql' ? mysqlBackend(servers, name) : mongodbBackend(servers, name))
    closers.push(backend.close)

    const topics = { ours: `${name}_ours`, builtin: `${name}_builtin`, plain: `${name}_plain` }
    const admin = new Kafka({ brokers: servers.kafkaBrokers.split(','), logLevel: logLevel.NOTHING }).admin()
    await admin.connect()
    closers.push(() => admin.disconnect())
    // The built-in outbox sends through a topic of its own between the two (namespace, app id,
    // topic, "outbox"); by its partitions it is as fast as it can be.
    const all = [...Object.values(topics), `default${name}${topics.builtin}outbox`]
    await admin.createTopics({
      waitForLeaders: true,
      topics: all.map((topic) => ({ topic, numPartitions: partitions, replicationFactor: 1 })),
    })
    // A new topic has a leader a moment before that leader answers for it.
    await poll('the topics answer', () => Promise.all(all.map((topic) => admin.fetchTopicOffsets(topic))), {
      timeoutMs: 30_000,
    })
    closers.push(() => admin.deleteTopics({ topics: all }))
    const watch = async (way: WayName) => {
      const arrivals = await watchArrivals(servers.kafkaBrokers, topics[way])
      closers.push(arrivals.close)
      return arrivals
    }
    const arrivals = { ours: await watch('ours'), builtin: await watch('builtin'), plain: await watch('plain') }

    const producer = await createPlainProducer(servers.kafkaBrokers, topics.plain)
    closers.push(producer.close)

    const component = await startComponentProcess(`outbox-${database}`, folder)
    closers.push(() => component.kill('SIGTERM'))
    closers.push(await startNothingStore(folder))
    const kafka = { brokers: servers.kafkaBrokers, authType: 'none', initialOffset: 'oldest', version: '3.6.0' }
    const ours = {
      name: 'ours',
      type: `state.outbox-${database}`,
      metadata: { ...backend.ours, relayBrokers: servers.kafkaBrokers, relayTopic: topics.ours },
    }
    const sidecar = await startSidecar({
      daprd: servers.daprd,
      appId: name,
      folder,
      components: [
        { name: 'kafka', type: 'pubsub.kafka', metadata: kafka },
        ours,
        { name: 'nothing', type: 'state.nothing', metadata: {} },
        { ...backend.dapr('dapr'), name: 'dapr' },
        { ...withBuiltinOutbox(backend.dapr('builtin'), topics.builtin), name: 'builtin' },
      ],
    })
    closers.push(sidecar.close)

    const stores = {
      ours: sidecar.dapr.state('ours'),
      dapr: sidecar.dapr.state('dapr'),
      builtin: sidecar.dapr.state('builtin'),
    }
    const ways: Record<WayName, Way> = {
      // Every upsert of a transaction is an event.
      builtin: {
        transact: ({ key, value }) => stores.builtin.transact([{ upsert: key, value }]),
        arrivals: arrivals.builtin,
      },
      ours: { transact: transactionsOf(stores.ours), arrivals: arrivals.ours },
      plain: { transact: backend.plain, publish: producer.publish, arrivals: arrivals.plain },
    }
    for (const way of Object.values(ways)) await sendOne(way)

    async function startReplica() {
      const own = mkdtempSync(join(tmpdir(), 'bench-'))
      const second = await startComponentProcess(`outbox-${database}`, own)
      const itsSidecar = await startSidecar({ daprd: servers.daprd, appId: name, folder: own, components: [ours] })
      const way = { transact: transactionsOf(itsSidecar.dapr.state('ours')), arrivals: arrivals.ours }
      await sendOne(way)
      return {
        way,
        async close() {
          await itsSidecar.close()
          await second.kill('SIGTERM')
          rmSync(own, { recursive: true, force: true })
        },
      }
    }
    return {
      ways,
      get: { ours: await reader(stores.ours), dapr: await reader(stores.dapr) },
      nothing: transactionsOf(sidecar.dapr.state('nothing')),
      startReplica,
      versions: backend.versions,
      durability: backend.durability,
      close,
    }
  } catch (error) {
    // Why it did not come up matters more than what could not be removed after that.
    await close().catch(() => {})
    throw error
  }
}

/** @returns a function that ends it */
async function startNothingStore(folder: string): Promise<() => Promise<unknown>> {
  const env = { PATH: process.env['PATH'], DAPR_COMPONENTS_SOCKETS_FOLDER: folder, LOG_LEVEL: 'warn' }
  const child = startChild(process.execPath, [join(import.meta.dirname, 'nothing-store.ts')], { env })
  await child.ready('the store that does nothing listens', () => existsSync(join(folder, 'nothing.sock')))
  return () => child.kill('SIGKILL')
}

const transactionsOf =
  (store: StateStore): Way['transact'] =>
  ({ id, key, value }) =>
    store.transact([{ upsert: key, value }, { event: { type: 'bench.changed.v1', data: value, key, id } }])

const withBuiltinOutbox = <C extends Omit<DaprComponent, 'name'>>(component: C, topic: string): C => ({
  ...component,
  metadata: { ...component.metadata, outboxPublishPubsub: 'kafka', outboxPublishTopic: topic },
})

async function sendOne(way: Way): Promise<void> {
  const change = createChanges().next()
  await poll('a first transaction', () => way.transact(change).then(() => true), { timeoutMs: 20_000 })
  await way.publish?.(change)
  await poll('the first event', () => way.arrivals.at.has(change.id), { timeoutMs: 60_000 })
}

async function reader(store: StateStore): Promise<() => Promise<unknown>> {
  const keys = 100
  const changes = createChanges({ keys })
  for (let n = 0; n < keys; n += 1) await store.set(`read:${n}`, changes.next().value)
  let reads = 0
  return async () => {
    reads += 1
    if (!(await store.get(`read:${reads % keys}`, z.unknown()))) throw new Error('a key is gone')
  }
}

type Backend = {
  ours: Record<string, string>
  /** Dapr's own component, on a database of its own. */
  dapr: (kind: 'dapr' | 'builtin') => Omit<DaprComponent, 'name'>
  plain: Way['transact']
  versions: Record<string, string>
  durability: Record<string, string>
  close: () => Promise<void>
}

async function mysqlBackend({ mysqlUrl }: Servers, name: string): Promise<Backend> {
  const admin = await createConnection({ uri: mysqlUrl })
  const urlOf = (kind: string) => Object.assign(new URL(mysqlUrl), { pathname: `/${name}_${kind}` }).href
  // Dapr's components make their own.
  for (const kind of ['ours', 'plain']) await admin.query(`CREATE DATABASE ${name}_${kind}`)
  const plain = await createPlainMysql(urlOf('plain'))
  const { username, password, hostname, port } = new URL(mysqlUrl)
  const variables = await admin.query(
    "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('version', 'innodb_flush_log_at_trx_commit', 'innodb_doublewrite', 'log_bin', 'sync_binlog')",
  )
  const { version = '', ...durability } = Object.fromEntries(
    (variables[0] as { Variable_name: string; Value: string }[]).map((row) => [row.Variable_name, row.Value]),
  )
  return {
    ours: { connectionString: urlOf('ours') },
    dapr: (kind) => ({
      type: 'state.mysql',
      metadata: {
        connectionString: `${decodeURIComponent(username)}:${decodeURIComponent(password)}@tcp(${hostname}:${port || 3306})/`,
        schemaName: `${name}_${kind}`,
      },
    }),
    plain: plain.transact,
    versions: { mysql: version },
    durability,
    async close() {
      await plain.close()
      for (const kind of ['ours', 'plain', 'dapr', 'builtin'])
        await admin.query(`DROP DATABASE IF EXISTS ${name}_${kind}`)
      await admin.end()
    },
  }
}

async function mongodbBackend({ mongodbUri }: Servers, name: string): Promise<Backend> {
  const admin = await MongoClient.connect(mongodbUri)
  const plain = await createPlainMongodb(mongodbUri, `${name}_plain`)
  const { version } = await admin.db('admin').command({ buildInfo: 1 })
  return {
    ours: { connectionString: mongodbUri, databaseName: `${name}_ours` },
    dapr: (kind) => ({
      type: 'state.mongodb',
      metadata: { connectionString: mongodbUri, databaseName: `${name}_${kind}`, collectionName: 'state' },
    }),
    plain: plain.transact,
    versions: { mongodb: String(version) },
    durability: { writeConcern: 'majority, journaled', members: '1' },
    async close() {
      await plain.close()
      for (const kind of ['ours', 'plain', 'dapr', 'builtin']) await admin.db(`${name}_${kind}`).dropDatabase()
      await admin.close()
    },
  }
}
