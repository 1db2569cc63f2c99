// The databases' addresses: as root for the platform, as its own user for each service.
import type { Context } from './processes.ts'
import type { ServiceName } from './ports.ts'

type Where = Pick<Context, 'ports' | 'secrets' | 'servers'>

/** As an administrator. For a server that is used by its address, that address. */
export function rootUrls({ ports, secrets, servers }: Where): { mongodbUri: string; mysqlUrl: string } {
  return {
    mongodbUri:
      servers.mongodb?.from === 'address'
        ? servers.mongodb.address
        : `mongodb://root:${secrets.mongodbRoot}@127.0.0.1:${ports.mongodb}/?authSource=admin&replicaSet=${replicaSet(servers)}`,
    mysqlUrl:
      servers.mysql?.from === 'address'
        ? servers.mysql.address
        : `mysql://root:${secrets.mysqlRoot}@127.0.0.1:${ports.mysql}/`,
  }
}

/** SecantusDB's replica set has a fixed name. */
export function replicaSet(servers: Where['servers']): string {
  return servers.mongodb !== undefined && servers.mongodb.from !== 'address' && /secantus/.test(servers.mongodb.path)
    ? 'secantus'
    : 'shop'
}

/** As one service's own user, which sees that service's own database and no other. */
export function databaseUrls(
  where: Where,
  service: ServiceName,
): { mongodbUri: string; mysqlUrl: string; mysqlDsn: string } {
  const root = rootUrls(where)
  const password = where.secrets.services[service].database

  const mongodb = new URL(root.mongodbUri)
  mongodb.username = service
  mongodb.password = password
  mongodb.pathname = `/${service}`
  mongodb.searchParams.set('authSource', service)

  const mysql = new URL(root.mysqlUrl)
  mysql.username = service
  mysql.password = password
  mysql.pathname = `/${service}`

  const address = `${mysql.hostname}:${mysql.port || 3306}`
  return {
    mongodbUri: mongodb.toString(),
    mysqlUrl: mysql.toString(),
    mysqlDsn: `${service}:${password}@tcp(${address})/${service}?parseTime=true`,
  }
}
