import { runKubectl } from '../../platform/cluster/kubectl.ts'

// oxlint-disable-next-line typescript/no-explicit-any -- responses are asserted on, not typed
type Resources = { items: any[] }

/** Runs kubectl in the shop's namespace and returns its output. @throws Error with its message */
export const kubectl = (args: string[]): Promise<string> => runKubectl(['--namespace', 'shop', ...args])

/** Returns what `kubectl get …` finds. */
export async function kubectlJson(args: string[]): Promise<Resources> {
  return JSON.parse(await kubectl([...args, '--output', 'json'])) as Resources
}

/** Runs JavaScript in a service's container and returns what it logs. */
export const runIn = (service: string, script: string): Promise<string> =>
  kubectl(['exec', `deployment/${service}`, '-c', service, '--', 'node', '--input-type=module', '-e', script])

/** Removes the canary, and returns once its pods have ended. Its policies apply until then. */
export async function deleteCanary(): Promise<void> {
  const ofCanary = '--selector=sidecart/track=canary'
  await kubectl(['delete', 'deployments,replicasets,services,poddisruptionbudgets', ofCanary])
  await kubectl(['wait', 'pods', ofCanary, '--for=delete', '--timeout=90s'])
  await kubectl(['delete', 'networkpolicies', ofCanary])
}
