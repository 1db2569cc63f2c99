// Run by the supervisor at each start: creates the users, databases and topics that do not exist
// yet, on each server as soon as it responds. The sidecars wait for this task, and so for servers
// that really respond. In Kubernetes it is a Job. Arguments: the file with its input
// (setup-input.ts), then the names of the servers.
import { readFileSync } from 'node:fs'
import { Kafka, logLevel } from 'kafkajs'
import { MongoClient } from 'mongodb'
import { createConnection } from 'mysql2/promise'
import { poll } from '../poll.ts'
import { deadLetterTopics, serviceNames, services, topics, type ServiceName } from '../processes/services.ts'
import type { SetupInput } from './setup-input.ts'

const timeoutMs = 90_000
const retrying = { timeoutMs, intervalMs: 150 }

/**
 * Partitions of a new topic. A sidecar delivers one event of each partition at a time, so this is
 * how many events of a topic a service can handle in one batch, and how many replicas can share
 * them. The number of an existing topic must never change: a key's partition is its hash modulo
 * their count, so with another count a key's later events would go to another partition than its
 * earlier ones, and could be read before them.
 */
const partitions = 24
/** Fewer have a topic that something else has created. */
const leastPartitions = 6

async function setUpMongodb(input: SetupInput): Promise<void> {
  if (input.ownMongodb) await createMongodbRoot(input)
  // In a cluster the administrator may be created only now, next to MongoDB.
  const connect = () => MongoClient.connect(input.mongodbUri, { serverSelectionTimeoutMS: 2_000 })
  const client = await poll('MongoDB lets the administrator in', connect, retrying)
  try {
    for (const name of owners('mongodb')) {
      const user = { pwd: input.passwords[name], roles: [{ role: 'readWrite', db: name }] }
      const database = client.db(name)
      await database
        .command({ createUser: name, ...user })
        .catch(async (error: { code?: number; codeName?: string; message: string }) => {
          if (error.code !== 51003 && !/already exists/.test(error.message)) throw error
          await database.command({ updateUser: name, ...user })
        })
    }
  } finally {
    await client.close()
  }
}

/**
 * The first user can be created from this machine without logging in; from then on everyone logs
 * in.
 */
async function createMongodbRoot(input: SetupInput): Promise<void> {
  const client = await poll(
    'MongoDB responds',
    () => MongoClient.connect(input.mongodbBootstrapUri, { serverSelectionTimeoutMS: 1_000 }),
    retrying,
  )
  const admin = client.db('admin')
  try {
    const hello = await admin.command({ hello: 1 })
    if (!hello['setName']) {
      const host = new URL(input.mongodbUri).host
      const initiate = async () => {
        await admin.command({ replSetInitiate: { _id: 'shop', members: [{ _id: 0, host }] } })
        return true
      }
      // It must reach itself by that name, which in a cluster takes a moment to resolve.
      await poll('the replica set is initiated', initiate, { ...retrying, isFatal: isNotNodeNotFound })
      const hasPrimary = async () => Boolean((await admin.command({ hello: 1 }))['isWritablePrimary'])
      await poll('the replica set has a primary', hasPrimary, retrying)
    }
    await admin.command({ createUser: 'root', pwd: input.mongodbRoot, roles: ['root'] })
  } catch (error) {
    // An earlier start has created it.
    if (!/already exists|requires authentication|not authorized/.test((error as Error).message)) throw error
  } finally {
    await client.close()
  }
}

async function setUpMysql(input: SetupInput): Promise<void> {
  // `tls` is the stores' parameter (docs/pluggable/settings.md). Here the authorities are Node's
  // and those of NODE_EXTRA_CA_CERTS.
  const url = new URL(input.mysqlUrl)
  const tls = url.searchParams.get('tls')
  url.searchParams.delete('tls')
  const connect = () =>
    createConnection({ uri: url.href, connectTimeout: 2_000, ...(tls && tls !== 'false' ? { ssl: {} } : {}) })
  const connection = await poll('MySQL responds', connect, retrying)
  try {
    for (const name of owners('mysql')) {
      const password = `IDENTIFIED BY '${input.passwords[name]}'`
      await connection.query(`CREATE DATABASE IF NOT EXISTS \`${name}\` CHARACTER SET utf8mb4`)
      await connection.query(`CREATE USER IF NOT EXISTS '${name}'@'%' ${password}`)
      await connection.query(`ALTER USER '${name}'@'%' ${password}`)
      await connection.query(`GRANT ALL PRIVILEGES ON \`${name}\`.* TO '${name}'@'%'`)
    }
  } finally {
    await connection.end()
  }
}

async function setUpKafka(input: SetupInput): Promise<void> {
  const kafka = new Kafka({
    clientId: 'setup',
    brokers: input.kafkaBrokers.split(','),
    logLevel: logLevel.NOTHING,
    connectionTimeout: 2_000,
    retry: { retries: 0 },
    ...(input.kafkaLogin && { ssl: true, sasl: { mechanism: 'scram-sha-512', ...input.kafkaLogin } }),
  })
  const admin = kafka.admin()
  await poll('Kafka responds', () => admin.connect().then(() => true), retrying)
  try {
    const existing = new Set(await poll('Kafka lists its topics', () => admin.listTopics(), retrying))
    const missing = [...topics, ...deadLetterTopics].filter((topic) => !existing.has(topic))
    if (missing.length > 0) {
      const create = async () => {
        await admin.createTopics({
          waitForLeaders: true,
          topics: missing.map((topic) => ({ topic, numPartitions: partitions })),
        })
        return true
      }
      await poll('Kafka creates the topics', create, retrying)
    }
    const describe = () => admin.fetchTopicMetadata({ topics })
    const { topics: described } = await poll('Kafka describes the topics', describe, retrying)
    for (const topic of described) {
      if (topic.partitions.length < leastPartitions) {
        throw new Error(
          `topic ${topic.name} must have ${leastPartitions} or more partitions, not ${topic.partitions.length}: ` +
            'with another number the events of a key would lose their order. Delete it while nothing waits in it.',
        )
      }
    }
  } finally {
    await admin.disconnect()
  }
}

function owners(database: 'mongodb' | 'mysql'): ServiceName[] {
  return serviceNames.filter((name) => services[name].databases.includes(database))
}

const isNotNodeNotFound = (error: unknown) => (error as { codeName?: string }).codeName !== 'NodeNotFound'

const steps: Record<string, (input: SetupInput) => Promise<void>> = {
  /** Only from MongoDB's own host: in a cluster, from a container in its pod. */
  'mongodb-root': createMongodbRoot,
  mongodb: setUpMongodb,
  mysql: setUpMysql,
  kafka: setUpKafka,
}

const [file = '', ...names] = process.argv.slice(2)
const input = JSON.parse(readFileSync(file, 'utf8')) as SetupInput
const started = Date.now()
const results = await Promise.allSettled(
  names.flatMap((name) => {
    const step = steps[name]
    return step ? [step(input).then(() => console.log(`${name}: ready after ${Date.now() - started} ms`))] : []
  }),
)
for (const result of results) {
  if (result.status === 'rejected') {
    console.error(result.reason)
    process.exitCode = 1
  }
}
