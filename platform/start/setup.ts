// Run once at each start, beside the servers: as soon as each answers, makes the users, databases
// and topics that are not there yet. The sidecars wait for it, so it also stands for "the servers
// really answer". Arguments: the shop's state folder, then the names of the servers.
import { setTimeout as sleep } from 'node:timers/promises'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Kafka, logLevel } from 'kafkajs'
import { MongoClient } from 'mongodb'
import { createConnection } from 'mysql2/promise'
import { serviceNames, type ServiceName } from '../processes/ports.ts'
import { consumers, services, topics } from '../processes/services.ts'

/** What this task needs to know; written by the starter beside the other generated files. */
export type SetupInput = {
  mongodbUri: string
  /** Without a user: for the first start, on which there is none yet. */
  mongodbBootstrapUri: string
  mysqlUrl: string
  kafkaBrokers: string
  passwords: Record<ServiceName, string>
  mongodbRoot: string
  /** Whether the MongoDB is ours to set up (users, replica set) or only to be used. */
  ownMongodb: boolean
}

const patienceMs = 90_000

/**
 * Six partitions for each topic, and never another number: a key's partition is its hash modulo
 * their count, so with another count a key's later events would go to another partition than its
 * earlier ones, and be read in any order.
 */
const partitions = 6

async function setUpMongodb(input: SetupInput): Promise<void> {
  if (input.ownMongodb) await makeMongodbRoot(input)
  const client = await MongoClient.connect(input.mongodbUri, { serverSelectionTimeoutMS: patienceMs })
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
 * The first user may be made without logging in, from this machine; afterwards nobody gets in
 * without a password.
 */
async function makeMongodbRoot(input: SetupInput): Promise<void> {
  const client = await until('mongodb', () =>
    MongoClient.connect(input.mongodbBootstrapUri, { serverSelectionTimeoutMS: 1_000 }),
  )
  const admin = client.db('admin')
  try {
    const hello = await admin.command({ hello: 1 })
    if (!hello['setName']) {
      const host = new URL(input.mongodbUri).host
      await admin.command({ replSetInitiate: { _id: 'shop', members: [{ _id: 0, host }] } })
      await until('the replica set', async () => {
        if (!(await admin.command({ hello: 1 }))['isWritablePrimary']) throw new Error('no primary yet')
      })
    }
    await admin.command({ createUser: 'root', pwd: input.mongodbRoot, roles: ['root'] })
  } catch (error) {
    // It is there already: made at an earlier start.
    if (!/already exists|requires authentication|not authorized/.test((error as Error).message)) throw error
  } finally {
    await client.close()
  }
}

async function setUpMysql(input: SetupInput): Promise<void> {
  const connection = await until('mysql', () => createConnection({ uri: input.mysqlUrl, connectTimeout: 2_000 }))
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
  })
  const admin = kafka.admin()
  await until('kafka', () => admin.connect())
  try {
    const there = new Set(await until('kafka', () => admin.listTopics()))
    const wanted = [...topics, ...consumers.map((service) => `${service}.dlq`)]
    const missing = wanted.filter((topic) => !there.has(topic))
    if (missing.length > 0) {
      await until('topics', () =>
        admin.createTopics({
          waitForLeaders: true,
          topics: missing.map((topic) => ({ topic, numPartitions: partitions })),
        }),
      )
    }
    const { topics: described } = await until('topics', () => admin.fetchTopicMetadata({ topics: [...topics] }))
    for (const topic of described) {
      if (topic.partitions.length !== partitions) {
        throw new Error(
          `topic ${topic.name} has ${topic.partitions.length} partitions instead of ${partitions}: keys would lose their order`,
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

/** Tries again until it works; the last error when it does not within `patienceMs`. */
async function until<T>(what: string, attempt: () => Promise<T>): Promise<T> {
  const deadline = Date.now() + patienceMs
  for (;;) {
    try {
      return await attempt()
    } catch (error) {
      if (Date.now() > deadline) throw new Error(`${what}: ${(error as Error).message}`, { cause: error })
      await sleep(150)
    }
  }
}

const steps: Record<string, (input: SetupInput) => Promise<void>> = {
  mongodb: setUpMongodb,
  mysql: setUpMysql,
  kafka: setUpKafka,
}

const [state = '', ...names] = process.argv.slice(2)
const input = JSON.parse(readFileSync(join(state, 'generated', 'setup.json'), 'utf8')) as SetupInput
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
