import { runKubectl } from '../../platform/cluster/kubectl.ts'

// oxlint-disable-next-line typescript/no-explicit-any -- what the API server answers is asserted on, not typed
type Resources = { items: any[] }

/** Runs kubectl in the shop's namespace and returns what it prints. @throws Error with what it says */
export const kubectl = (args: string[]): Promise<string> => runKubectl(['-n', 'shop', ...args])

/** Returns what `kubectl get …` finds. */
export async function kubectlJson(args: string[]): Promise<Resources> {
  return JSON.parse(await kubectl([...args, '-o', 'json'])) as Resources
}

/** Runs JavaScript in a service's container and returns what it logs. */
export const runIn = (service: string, script: string): Promise<string> =>
  kubectl(['exec', `deployment/${service}`, '-c', service, '--', 'node', '--input-type=module', '-e', script])
