// Makes a shop's secrets for Kubernetes. They are random, made once, and kept in .sidecart/cluster,
// which only its owner can read: a second run makes the same.
//   npx node k8s/secrets.ts | kubectl apply -f -     for k8s/overlays/local and test
//   npx node k8s/secrets.ts --entries FOLDER         for a secret manager, a JSON file for each
// The second takes the servers' administrators from MONGODB_URI, MYSQL_URL, KAFKA_BROKERS,
// KAFKA_USERNAME and KAFKA_PASSWORD, and the keys of the providers of payments and mail from
// PROVIDER_API_KEY and MAIL_API_KEY (docs/deploying.md).
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { stringify } from 'yaml'
import * as z from 'zod'
import { parseEnv } from '#lib/config.ts'
import { clusterSecrets } from '../platform/processes/cluster-secrets.ts'
import { root } from '../platform/processes/paths.ts'
import { loadSecrets, writePrivate } from '../platform/processes/secrets.ts'

const { entries } = parseArgs({ options: { entries: { type: 'string' } } }).values
const folder = join(root, '.sidecart', 'cluster')

if (entries === undefined) {
  const documents = clusterSecrets(loadSecrets(join(folder, 'secrets.json'))).map((secret) => stringify(secret))
  process.stdout.write(documents.join('---\n'))
} else {
  const text = z.string().min(1)
  const env = parseEnv({
    MONGODB_URI: z.url(),
    MYSQL_URL: z.url(),
    KAFKA_BROKERS: text,
    KAFKA_USERNAME: text,
    KAFKA_PASSWORD: text,
    PROVIDER_API_KEY: text,
    MAIL_API_KEY: text,
  })
  const secrets = loadSecrets(join(folder, 'production-secrets.json'))
  secrets.services.payments.named['provider-api-key'] = env.PROVIDER_API_KEY
  secrets.services.users.named['mail-api-key'] = env.MAIL_API_KEY
  const servers = {
    mongodbUri: env.MONGODB_URI,
    mysqlUrl: env.MYSQL_URL,
    kafkaBrokers: env.KAFKA_BROKERS,
    kafkaLogin: { username: env.KAFKA_USERNAME, password: env.KAFKA_PASSWORD },
  }
  for (const { metadata, stringData } of clusterSecrets(secrets, servers)) {
    writePrivate(join(entries, metadata.name), JSON.stringify(stringData))
  }
}
