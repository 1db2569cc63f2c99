import { kafkaBrokers, rootUrls } from '../processes/addresses.ts'
import type { Context } from '../processes/context.ts'
import type { ServiceName } from '../processes/services.ts'

/** What the setup task needs to know, as JSON in the shop's generated folder. */
export type SetupInput = {
  mongodbUri: string
  /** Without a user, for the first start, when there is none yet. */
  mongodbBootstrapUri: string
  mysqlUrl: string
  kafkaBrokers: string
  /** SASL/SCRAM with SHA-512, over TLS. */
  kafkaLogin?: { username: string; password: string }
  /** Of each service's database user. */
  passwords: Record<ServiceName, string>
  mongodbRoot: string
  /**
   * Whether the MongoDB is the shop's own to set up (users, replica set), or one that is only used.
   */
  ownMongodb: boolean
}

export function setupInput(context: Context): SetupInput {
  const { secrets, servers, ports } = context
  const passwords = Object.entries(secrets.services).map(([name, { database }]) => [name, database])
  return {
    ...rootUrls(context),
    mongodbBootstrapUri: `mongodb://127.0.0.1:${ports.mongodb}/?directConnection=true`,
    kafkaBrokers: kafkaBrokers(context),
    passwords: Object.fromEntries(passwords) as SetupInput['passwords'],
    mongodbRoot: secrets.mongodbRoot,
    ownMongodb: servers.mongodb?.from !== 'address',
  }
}
