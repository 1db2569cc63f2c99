// The Kubernetes Secrets that k8s/overlays/local and k8s/overlays/test need. In production a secret
// manager has them (k8s/overlays/production), with the same names and keys.
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

/**
 * Returns all of them, from a shop's random secrets (`loadSecrets`), so that a second call with the
 * same ones changes nothing in the cluster.
 */
export function clusterSecrets(secrets: Secrets): Secret[] {
  const address = (url: string) => ({ from: 'address', address: url, detail: url }) as const
  const servers: Partial<Servers> = {
    // Not by the name of its replica set, which is another one for each server that overlays use.
    mongodb: address(`mongodb://root:${secrets.mongodbRoot}@mongodb:27017/?authSource=admin&directConnection=true`),
    mysql: address(`mysql://root:${secrets.mysqlRoot}@mysql:3306/`),
    kafka: address('kafka:9092'),
  }
  const known = { ports: createPorts(), secrets, servers }
  const brokers = kafkaBrokers(known)
  const setup = {
    ...rootUrls(known),
    mongodbBootstrapUri: 'mongodb://127.0.0.1:27017/?directConnection=true',
    kafkaBrokers: brokers,
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
    secret(kafkaSecret, { brokers }),
    secret('mongodb', { key: secrets.mongodbRoot }),
    secret('mysql', { 'root-password': secrets.mysqlRoot }),
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
