// Starts real servers for the `*.int.test.ts` files, with their own ports and data. If all four
// addresses are set in the environment, those servers are used instead. Servers that already run
// (`npm test -- --keep`) are reused and left running.
import type { TestProject } from 'vitest/node'
import { dataServers } from '../processes/servers.ts'
import { startServers, type Shop } from '../start/shop.ts'

declare module 'vitest' {
  export interface ProvidedContext {
    mongodbUri: string
    mysqlUrl: string
    kafkaBrokers: string
    openSearchUrl: string
  }
}

export default async function setup(project: TestProject): Promise<(() => Promise<void>) | undefined> {
  const { TEST_MONGODB_URI, TEST_MYSQL_URL, TEST_KAFKA_BROKERS, TEST_OPENSEARCH_URL } = process.env
  if (TEST_MONGODB_URI && TEST_MYSQL_URL && TEST_KAFKA_BROKERS && TEST_OPENSEARCH_URL) {
    provide(project, {
      mongodbUri: TEST_MONGODB_URI,
      mysqlUrl: TEST_MYSQL_URL,
      kafkaBrokers: TEST_KAFKA_BROKERS,
      openSearchUrl: TEST_OPENSEARCH_URL,
    })
    return undefined
  }
  const shop = await startServers(dataServers, { instance: 'test', portBase: 'free', fresh: true })
  provide(project, shop.urls)
  return shop.reused ? undefined : shop.stop
}

function provide(project: TestProject, urls: Shop['urls']): void {
  project.provide('mongodbUri', urls.mongodbUri)
  project.provide('mysqlUrl', urls.mysqlUrl)
  project.provide('kafkaBrokers', urls.kafkaBrokers)
  project.provide('openSearchUrl', urls.openSearchUrl)
  // For the processes that tests start. The workers are forked later and inherit these.
  process.env['TEST_MONGODB_URI'] = urls.mongodbUri
  process.env['TEST_MYSQL_URL'] = urls.mysqlUrl
  process.env['TEST_KAFKA_BROKERS'] = urls.kafkaBrokers
  process.env['TEST_OPENSEARCH_URL'] = urls.openSearchUrl
}
