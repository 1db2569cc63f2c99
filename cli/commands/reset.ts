import { Kafka, logLevel } from 'kafkajs'
import { MongoClient } from 'mongodb'
import { createConnection } from 'mysql2/promise'
import { currentInstance } from '../../platform/supervise/instance.ts'
import { findLeftovers } from '../../platform/supervise/leftovers.ts'
import { createPaths } from '../../platform/processes/paths.ts'
import { deadLetterTopics, serviceNames, services, topics } from '../../platform/processes/services.ts'
import { isRunning } from '../../platform/start/readiness.ts'
import { resetInTilt } from '../../platform/start/tilt.ts'
import { findTilt } from '../../platform/supervise/tilt.ts'
import { deleteData, stopShop } from '../../platform/start/stop.ts'

/**
 * Stops the shop and deletes its data. Secrets and certificates stay. A shop that Tilt runs is
 * started again.
 */
export async function reset(): Promise<void> {
  const { instance, portBase } = currentInstance()
  const paths = createPaths(instance)
  const tilt = findTilt(paths)
  if (tilt !== undefined) {
    await resetInTilt({ instance, portBase }, tilt, emptyOwnServers)
    console.log('The shop is empty.')
    return
  }
  const ran = (await isRunning(paths)) || findLeftovers(paths).length > 0
  if (ran) await stopShop(paths)
  deleteData(paths)
  await emptyOwnServers()
  console.log(`The shop is empty${ran ? ' and stopped' : ''}. \`npm start\` starts it.`)
}

/** On servers used by their address, deletes only what belongs to the shop. */
async function emptyOwnServers(): Promise<void> {
  const { MONGODB_URI, MYSQL_URL, KAFKA_BROKERS } = process.env
  if (MONGODB_URI) {
    const client = await MongoClient.connect(MONGODB_URI)
    for (const name of serviceNames.filter((service) => services[service].databases.includes('mongodb')))
      await client.db(name).dropDatabase()
    await client.close()
  }
  if (MYSQL_URL) {
    const connection = await createConnection({ uri: MYSQL_URL })
    for (const name of serviceNames.filter((service) => services[service].databases.includes('mysql'))) {
      await connection.query(`DROP DATABASE IF EXISTS \`${name}\``)
    }
    await connection.end()
  }
  if (KAFKA_BROKERS) {
    const admin = new Kafka({ brokers: KAFKA_BROKERS.split(','), logLevel: logLevel.NOTHING }).admin()
    await admin.connect()
    const there = new Set(await admin.listTopics())
    const ours = [...topics, ...deadLetterTopics].filter((topic) => there.has(topic))
    if (ours.length > 0) await admin.deleteTopics({ topics: ours })
    await admin.disconnect()
  }
}
