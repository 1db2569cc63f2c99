// Starts everything needed to measure one database: the three contenders, on databases and topics
// of this run.
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
import { createDriverMongodb } from './driver-mongodb.ts'
import { createDriverMysql } from './driver-mysql.ts'
import { createDriverProducer } from './driver-producer.ts'
import { startSidecar, type DaprComponent } from '../platform/testing/sidecar.ts'
import { createChanges, type Contender, type ContenderName } from './contender.ts'
import type { DatabaseName } from './outbox-result.ts'

export type OutboxSetup = {
  contenders: Record<ContenderName, Contender>
  /** Reads one of 100 keys from our store and from Dapr's component, through the same sidecar. */
  get: Record<'ours' | 'dapr', () => Promise<unknown>>
  /** Sends a change through the same sidecar to a store that does nothing. */
  nothing: Contender['transact']
  /** Starts a second sidecar and component on the same database, while the first leads. */
  startReplica: () => Promise<{ contender: Contender; close: () => Promise<void> }>
  versions: Record<string, string>
  durability: Record<string, string>
  close: () => Promise<void>
}

export type Servers = { mysqlUrl: string; mongodbUri: string; kafkaBrokers: string; daprd: string }

const partitions = 6

/**
 * Creates databases and topics, starts the sidecar and the component, and sends one change through
 * each contender.
 * @throws Error when a part does not start
 */
export async function createSetup(database: DatabaseName, servers: Servers): Promise<OutboxSetup> {
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

    const topics = { ours: `${name}_ours`, builtin: `${name}_builtin`, driver: `${name}_driver` }
    const admin = new Kafka({ brokers: servers.kafkaBrokers.split(','), logLevel: logLevel.NOTHING }).admin()
    await admin.connect()
    closers.push(() => admin.disconnect())
    // The built-in outbox sends through an internal topic in between (namespace, app id, topic,
    // "outbox"). With as many partitions it is as fast as it can be.
    const all = [...Object.values(topics), `default${name}${topics.builtin}outbox`]
    await admin.createTopics({
      waitForLeaders: true,
      topics: all.map((topic) => ({ topic, numPartitions: partitions, replicationFactor: 1 })),
    })
    // A new topic's leader is elected a moment before it responds.
    await poll('the topics respond', () => Promise.all(all.map((topic) => admin.fetchTopicOffsets(topic))), {
      timeoutMs: 30_000,
    })
    closers.push(() => admin.deleteTopics({ topics: all }))
    const watch = async (contender: ContenderName) => {
      const arrivals = await watchArrivals(servers.kafkaBrokers, topics[contender])
      closers.push(arrivals.close)
      return arrivals
    }
    const arrivals = { ours: await watch('ours'), builtin: await watch('builtin'), driver: await watch('driver') }

    const producer = await createDriverProducer(servers.kafkaBrokers, topics.driver)
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
    const contenders: Record<ContenderName, Contender> = {
      // Every upsert in a transaction is an event.
      builtin: {
        transact: ({ key, value }) => stores.builtin.transact([{ upsert: key, value }]),
        arrivals: arrivals.builtin,
      },
      ours: { transact: transactionsOf(stores.ours), arrivals: arrivals.ours },
      driver: { transact: backend.driver, publish: producer.publish, arrivals: arrivals.driver },
    }
    for (const contender of Object.values(contenders)) await sendOne(contender)

    async function startReplica() {
      const own = mkdtempSync(join(tmpdir(), 'bench-'))
      const second = await startComponentProcess(`outbox-${database}`, own)
      const itsSidecar = await startSidecar({ daprd: servers.daprd, appId: name, folder: own, components: [ours] })
      const contender = { transact: transactionsOf(itsSidecar.dapr.state('ours')), arrivals: arrivals.ours }
      await sendOne(contender)
      return {
        contender,
        async close() {
          await itsSidecar.close()
          await second.kill('SIGTERM')
          rmSync(own, { recursive: true, force: true })
        },
      }
    }
    return {
      contenders,
      get: { ours: await reader(stores.ours), dapr: await reader(stores.dapr) },
      nothing: transactionsOf(sidecar.dapr.state('nothing')),
      startReplica,
      versions: backend.versions,
      durability: backend.durability,
      close,
    }
  } catch (error) {
    // The reason for the failed start matters more than one for a failed clean-up.
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
  (store: StateStore): Contender['transact'] =>
  ({ id, key, value }) =>
    store.transact([{ upsert: key, value }, { event: { type: 'bench.changed.v1', data: value, key, id } }])

const withBuiltinOutbox = <C extends Omit<DaprComponent, 'name'>>(component: C, topic: string): C => ({
  ...component,
  metadata: { ...component.metadata, outboxPublishPubsub: 'kafka', outboxPublishTopic: topic },
})

async function sendOne(contender: Contender): Promise<void> {
  const change = createChanges().next()
  await poll('a first transaction', () => contender.transact(change).then(() => true), { timeoutMs: 20_000 })
  await contender.publish?.(change)
  await poll('the first event', () => contender.arrivals.at.has(change.id), { timeoutMs: 60_000 })
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
  /** Dapr's own component, on its own database. */
  dapr: (kind: 'dapr' | 'builtin') => Omit<DaprComponent, 'name'>
  driver: Contender['transact']
  versions: Record<string, string>
  durability: Record<string, string>
  close: () => Promise<void>
}

async function mysqlBackend({ mysqlUrl }: Servers, name: string): Promise<Backend> {
  const admin = await createConnection({ uri: mysqlUrl })
  const urlOf = (kind: string) => Object.assign(new URL(mysqlUrl), { pathname: `/${name}_${kind}` }).href
  // Dapr's components create theirs.
  for (const kind of ['ours', 'driver']) await admin.query(`CREATE DATABASE ${name}_${kind}`)
  const driver = await createDriverMysql(urlOf('driver'))
  const { username, password, hostname, port } = new URL(mysqlUrl)
  const login = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`
  const names = ['version', 'innodb_flush_log_at_trx_commit', 'innodb_doublewrite', 'log_bin', 'sync_binlog']
  const variables = await admin.query('SHOW GLOBAL VARIABLES WHERE Variable_name IN (?)', [names])
  const { version = '', ...durability } = Object.fromEntries(
    (variables[0] as { Variable_name: string; Value: string }[]).map((row) => [row.Variable_name, row.Value]),
  )
  return {
    ours: { connectionString: urlOf('ours') },
    dapr: (kind) => ({
      type: 'state.mysql',
      metadata: {
        connectionString: `${login}@tcp(${hostname}:${port || 3306})/`,
        schemaName: `${name}_${kind}`,
      },
    }),
    driver: driver.transact,
    versions: { mysql: version },
    durability,
    async close() {
      await driver.close()
      for (const kind of ['ours', 'driver', 'dapr', 'builtin'])
        await admin.query(`DROP DATABASE IF EXISTS ${name}_${kind}`)
      await admin.end()
    },
  }
}

async function mongodbBackend({ mongodbUri }: Servers, name: string): Promise<Backend> {
  const admin = await MongoClient.connect(mongodbUri)
  const driver = await createDriverMongodb(mongodbUri, `${name}_driver`)
  const { version } = await admin.db('admin').command({ buildInfo: 1 })
  return {
    ours: { connectionString: mongodbUri, databaseName: `${name}_ours` },
    dapr: (kind) => ({
      type: 'state.mongodb',
      metadata: { connectionString: mongodbUri, databaseName: `${name}_${kind}`, collectionName: 'state' },
    }),
    driver: driver.transact,
    versions: { mongodb: String(version) },
    durability: { writeConcern: 'majority, journaled', members: '1' },
    async close() {
      await driver.close()
      for (const kind of ['ours', 'driver', 'dapr', 'builtin']) await admin.db(`${name}_${kind}`).dropDatabase()
      await admin.close()
    },
  }
}
