// How a person or a test reaches the shop in a cluster.
import { ensureDemoLogin, type DemoLogin } from '../accounts.ts'
import type { Secrets } from '../processes/secrets.ts'
import { namespace } from '../processes/services.ts'
import { withForwardedPort, type Kubectl } from './kubectl.ts'
import type { Cluster } from './cluster.ts'
import type { Network } from './network.ts'
import { shopSecrets } from './shop.ts'

/** Returns the edge's address on a node of our own, and the demo logins, which it creates. */
export async function shopAccess({
  kubectl,
  node,
  paths,
}: Pick<Cluster, 'kubectl' | 'node' | 'paths'>): Promise<{ api: string; login: DemoLogin }> {
  const [api, login] = await Promise.all([
    nodePortUrl(kubectl, node.network, 'edge', 80),
    clusterLogin(kubectl, shopSecrets(paths.state)),
  ])
  return { api, login }
}

type Service = { spec: { ports: { port: number; nodePort?: number }[] } }

/**
 * Returns the address of a Service that has a port on the node.
 * @throws Error when it has none
 */
async function nodePortUrl(kubectl: Kubectl, { nodeAddress }: Network, name: string, port: number): Promise<string> {
  const { spec } = await kubectl.json<Service>(['get', 'service', name, '--namespace', namespace])
  const found = spec.ports.find((each) => each.port === port)?.nodePort
  if (found === undefined) throw new Error(`Service ${name} has no NodePort for its port ${port}`)
  return `http://${nodeAddress}:${found}`
}

/**
 * Returns an address of the pod of a service as it is now, for what is not reached from outside.
 * @throws Error when no pod is running
 */
export async function podUrl(kubectl: Kubectl, name: string, port: number): Promise<string> {
  const { items } = await kubectl.json<{ items: { status: { podIP?: string } }[] }>([
    'get',
    'pods',
    '--namespace',
    namespace,
    '--field-selector',
    'status.phase=Running',
    '--selector',
    `app.kubernetes.io/name=${name}`,
  ])
  const ip = items[0]?.status.podIP
  if (ip === undefined) throw new Error(`no pod of ${name} is running`)
  return `http://${ip}:${port}`
}

/** Creates the demo shopper and the admin unless they exist. @returns them, with their passwords */
export function clusterLogin(kubectl: Kubectl, secrets: Secrets): Promise<DemoLogin> {
  // The service's own port: no sidecar lets an app change roles.
  const target = { namespace, target: 'deployment/users', port: 50051 }
  return withForwardedPort(kubectl, target, (app) =>
    ensureDemoLogin({ ports: { services: { users: { app } } }, secrets }),
  )
}
