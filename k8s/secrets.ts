// Prints the Secrets of a shop in a cluster of its own (k8s/overlays/local, k8s/overlays/test):
//   npx node k8s/secrets.ts | kubectl apply -f -
// They are random, made once and kept in .sidecart/cluster/secrets.json, which only its owner can
// read: a second run prints the same. Production has its secrets from elsewhere.
import { join } from 'node:path'
import { stringify } from 'yaml'
import { clusterSecrets } from '../platform/processes/cluster-secrets.ts'
import { root } from '../platform/processes/paths.ts'
import { loadSecrets } from '../platform/processes/secrets.ts'

const secrets = loadSecrets(join(root, '.sidecart', 'cluster', 'secrets.json'))
process.stdout.write(
  clusterSecrets(secrets)
    .map((secret) => stringify(secret))
    .join('---\n'),
)
