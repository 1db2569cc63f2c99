// The Kubernetes Secrets of a shop in a cluster: names and keys are the same in every overlay of
// k8s/. Those of a cluster of its own are applied as they are; production has them in a secret
// manager (k8s/components/external-secrets).
import type { Servers } from '../parts/ensure.ts'
import { kafkaBrokers, rootUrls } from './addresses.ts'
import { createPorts } from './ports.ts'
import type { Secrets } from './secrets.ts'
import { kafkaSecret, serviceSecret } from './service-secret.ts'
import { namespace, serviceNames } from './services.ts'

export type Secret = {
  apiVersion: 'v1'
  kind: 'Secret'
  metadata: { name: string; namespace: string; labels: Record<string, string> }
  stringData: Record<string, string>
}

/** Servers that are not the cluster's own, as administrator. */
export type OtherServers = {
  mongodbUri: string
  mysqlUrl: string
  kafkaBrokers: string
  /** SASL/SCRAM over TLS. */
  kafkaLogin: { username: string; password: string }
}

/**
 * Returns all of them, from a shop's random secrets (`loadSecrets`), so that a second call with the
 * same ones changes nothing. Without `servers` they are for k8s/components/servers.
 */
export function clusterSecrets(secrets: Secrets, servers?: OtherServers): Secret[] {
  const address = (url: string) => ({ from: 'address', address: url, detail: url }) as const
  // MongoDB not by the name of its replica set, which is another one for each program.
  const own: Omit<OtherServers, 'kafkaLogin'> = {
    mongodbUri: `mongodb://root:${secrets.mongodbRoot}@mongodb:27017/?authSource=admin&directConnection=true`,
    mysqlUrl: `mysql://root:${secrets.mysqlRoot}@mysql:3306/`,
    kafkaBrokers: 'kafka:9092',
  }
  const urls = servers ?? own
  const found: Partial<Servers> = {
    mongodb: address(urls.mongodbUri),
    mysql: address(urls.mysqlUrl),
    kafka: address(urls.kafkaBrokers),
  }
  const known = { ports: createPorts(), secrets, servers: found }
  const brokers = kafkaBrokers(known)
  const setup = {
    ...rootUrls(known),
    mongodbBootstrapUri: 'mongodb://127.0.0.1:27017/?directConnection=true',
    kafkaBrokers: brokers,
    ...(servers && { kafkaLogin: servers.kafkaLogin }),
    passwords: Object.fromEntries(serviceNames.map((name) => [name, secrets.services[name].database])),
    mongodbRoot: secrets.mongodbRoot,
    // Its pod creates the administrator.
    ownMongodb: false,
  }
  return [
    ...serviceNames.flatMap((name) => [
      secret(name, serviceSecret(known, name)),
      secret(`${name}-api-token`, { token: secrets.services[name].daprToken }),
      secret(`${name}-app-token`, { token: secrets.services[name].appToken }),
    ]),
    secret(kafkaSecret, { brokers, ...servers?.kafkaLogin }),
    ...(servers
      ? []
      : [secret('mongodb', { key: secrets.mongodbRoot }), secret('mysql', { 'root-password': secrets.mysqlRoot })]),
    secret('setup', { 'setup.json': JSON.stringify(setup) }),
  ].filter(({ stringData }) => Object.keys(stringData).length > 0)
}

function secret(name: string, stringData: Record<string, string>): Secret {
  return {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name, namespace, labels: { 'app.kubernetes.io/part-of': 'sidecart' } },
    stringData,
  }
}
