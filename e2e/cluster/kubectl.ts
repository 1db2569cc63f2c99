import { attachCluster } from '../../platform/cluster/cluster.ts'
import { createClusterPaths } from '../../platform/cluster/paths.ts'

// oxlint-disable-next-line typescript/no-explicit-any -- responses are asserted on, not typed
type Resources = { items: any[] }

const cluster = attachCluster(createClusterPaths())

/** Runs kubectl in the shop's namespace and returns its output. @throws Error with its message */
export async function kubectl(args: string[]): Promise<string> {
  if (cluster === undefined) throw new Error('no cluster runs')
  return cluster.kubectl(['--namespace', 'shop', ...args])
}

/** Returns what `kubectl get …` finds. */
export async function kubectlJson(args: string[]): Promise<Resources> {
  return JSON.parse(await kubectl([...args, '--output', 'json'])) as Resources
}

/** Runs JavaScript in a service's container and returns what it logs. */
export const runIn = (service: string, script: string): Promise<string> =>
  kubectl(['exec', `deployment/${service}`, '-c', service, '--', 'node', '--input-type=module', '-e', script])
