// Starts real servers for the `*.int.test.ts` files, with their own ports and data. If all three
// addresses are set in the environment, those servers are used instead. Servers that already run
// (`npm test -- --keep`) are reused and left running.
import type { TestProject } from 'vitest/node'
import { startServers } from '../start/shop.ts'

declare module 'vitest' {
  export interface ProvidedContext {
    mongodbUri: string
    mysqlUrl: string
    kafkaBrokers: string
  }
}

export default async function setup(project: TestProject): Promise<(() => Promise<void>) | undefined> {
  const { TEST_MONGODB_URI, TEST_MYSQL_URL, TEST_KAFKA_BROKERS } = process.env
  if (TEST_MONGODB_URI && TEST_MYSQL_URL && TEST_KAFKA_BROKERS) {
    provide(project, { mongodbUri: TEST_MONGODB_URI, mysqlUrl: TEST_MYSQL_URL, kafkaBrokers: TEST_KAFKA_BROKERS })
    return undefined
  }
  const shop = await startServers(['mongodb', 'mysql', 'kafka'], { instance: 'test', portBase: 'free', fresh: true })
  provide(project, shop.urls)
  return shop.reused ? undefined : shop.stop
}

function provide(project: TestProject, urls: { mongodbUri: string; mysqlUrl: string; kafkaBrokers: string }): void {
  project.provide('mongodbUri', urls.mongodbUri)
  project.provide('mysqlUrl', urls.mysqlUrl)
  project.provide('kafkaBrokers', urls.kafkaBrokers)
  // For the processes that tests start. The workers are forked later and inherit these.
  process.env['TEST_MONGODB_URI'] = urls.mongodbUri
  process.env['TEST_MYSQL_URL'] = urls.mysqlUrl
  process.env['TEST_KAFKA_BROKERS'] = urls.kafkaBrokers
}
