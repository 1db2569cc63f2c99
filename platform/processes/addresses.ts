// Addresses of the servers: for the platform as administrator, for each service as its own user.
import type { Servers } from '../parts/ensure.ts'
import type { Context } from './context.ts'
import type { ServiceName } from './services.ts'

type Known = Pick<Context, 'ports' | 'secrets' | 'servers'>

/**
 * Returns the databases' addresses as administrator; an address from the environment is kept as is.
 */
export function rootUrls({ ports, secrets, servers }: Known): { mongodbUri: string; mysqlUrl: string } {
  const { mongodb, mysql } = servers
  const options = `authSource=admin&replicaSet=${replicaSet(servers)}`
  return {
    mongodbUri:
      mongodb?.from === 'address'
        ? mongodb.address
        : `mongodb://root:${secrets.mongodbRoot}@127.0.0.1:${ports.mongodb}/?${options}`,
    mysqlUrl: mysql?.from === 'address' ? mysql.address : `mysql://root:${secrets.mysqlRoot}@127.0.0.1:${ports.mysql}/`,
  }
}

/** SecantusDB's replica set has a fixed name. */
function replicaSet({ mongodb }: Partial<Servers>): string {
  return mongodb !== undefined && mongodb.from !== 'address' && isSecantus(mongodb.path) ? 'secantus' : 'shop'
}

/** Whether a MongoDB program is the compatible server that is built where mongod is missing. */
export const isSecantus = (program: string) => /secantus/.test(program)

/** Returns the addresses for one service: its own user, which sees only that service's database. */
export function databaseUrls(
  known: Known,
  service: ServiceName,
): { mongodbUri: string; mysqlUrl: string; mysqlDsn: string } {
  const root = rootUrls(known)
  const password = known.secrets.services[service].database

  const mongodb = new URL(root.mongodbUri)
  mongodb.username = service
  mongodb.password = password
  mongodb.pathname = `/${service}`
  // Users of MongoDB Atlas, which has such a name, are all in its database "admin".
  if (mongodb.protocol !== 'mongodb+srv:') mongodb.searchParams.set('authSource', service)

  const mysql = new URL(root.mysqlUrl)
  mysql.username = service
  mysql.password = password
  mysql.pathname = `/${service}`

  const address = `${mysql.hostname}:${mysql.port || 3306}`
  const tls = mysql.searchParams.get('tls')
  return {
    mongodbUri: mongodb.toString(),
    mysqlUrl: mysql.toString(),
    mysqlDsn: `${service}:${password}@tcp(${address})/${service}?parseTime=true${tls ? `&tls=${tls}` : ''}`,
  }
}

export function kafkaBrokers({ servers, ports }: Pick<Context, 'servers' | 'ports'>): string {
  return servers.kafka?.from === 'address' ? servers.kafka.address : `127.0.0.1:${ports.kafka}`
}

export function openSearchUrl({ servers, ports }: Pick<Context, 'servers' | 'ports'>): string {
  return servers.opensearch?.from === 'address' ? servers.opensearch.address : `http://127.0.0.1:${ports.opensearch}`
}

export function otlpEndpoint({ servers, ports }: Pick<Context, 'servers' | 'ports'>): string {
  return servers.jaeger?.from === 'address' ? servers.jaeger.address : `http://127.0.0.1:${ports.otlp}`
}
