// What a service's secret holds. It has the same names and keys everywhere: on one machine its
// sidecar's secret store is a file, in a cluster it is a Kubernetes Secret named after the service.
import { databaseUrls } from './addresses.ts'
import type { Context } from './context.ts'
import { services, type HttpEndpoint, type ServiceName } from './services.ts'

/** The secret that holds the broker's address, in the key `brokers`. */
export const kafkaSecret = 'kafka'

/** Returns the keys of the secret that is named after the service. */
export function serviceSecret(
  known: Pick<Context, 'ports' | 'secrets' | 'servers'>,
  service: ServiceName,
): Record<string, string> {
  const { databases, httpEndpoints } = services[service]
  const { named } = known.secrets.services[service]
  const urls = databaseUrls(known, service)
  return {
    ...(databases.includes('mongodb') ? { 'mongodb-uri': urls.mongodbUri } : {}),
    ...(databases.includes('mysql') ? { 'mysql-url': urls.mysqlUrl, 'mysql-dsn': urls.mysqlDsn } : {}),
    ...named,
    ...Object.fromEntries(
      httpEndpoints.flatMap((endpoint) =>
        endpoint.bearerSecret ? [[authorizationKey(endpoint), `Bearer ${named[endpoint.bearerSecret]}`]] : [],
      ),
    ),
  }
}

/** The key of what a sidecar sends to an HTTPEndpoint in the header Authorization. */
export const authorizationKey = ({ name }: HttpEndpoint): string => `${name}-authorization`

/**
 * The secrets that a service itself reads, as variables by their keys: `jwt-encryption-key` is
 * JWT_ENCRYPTION_KEY. Those that its sidecar sends to an HTTPEndpoint are none of its business.
 */
export function secretVariables(service: ServiceName): Record<string, string> {
  const { secrets, httpEndpoints } = services[service]
  const ofSidecar = httpEndpoints.map(({ bearerSecret }) => bearerSecret)
  const own = secrets.filter((secret) => !ofSidecar.includes(secret))
  return Object.fromEntries(own.map((secret) => [secret.replaceAll('-', '_').toUpperCase(), secret]))
}
