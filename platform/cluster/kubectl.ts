// kubectl as a function. It knows every kind of cluster and login; a client of our own would not.
import { spawn } from 'node:child_process'
import { startChild } from '../child.ts'
import { inPart } from './parts.ts'

export type Kubectl = {
  /**
   * Runs kubectl and returns its output.
   * @param input for `-f -`
   * @throws Error with what kubectl printed on stderr
   */
  (args: string[], input?: string): Promise<string>
  json: <T>(args: string[]) => Promise<T>
  /** Applies resources (JSON or YAML text) on the server, as this tool's own. */
  apply: (input: string, ...args: string[]) => Promise<string>
  /** The whole command, for messages and for other programs. */
  command: string[]
}

/**
 * Runs the kubectl of this project on the cluster of KUBECONFIG and returns its output, for tests.
 * @throws Error with what kubectl printed on stderr
 */
export function runKubectl(args: string[], input?: string): Promise<string> {
  return createKubectl([inPart('kubectl')])(args, input)
}

/** @param command kubectl with the flags that choose the cluster */
export function createKubectl(command: string[]): Kubectl {
  const [file = '', ...flags] = command
  const kubectl = (args: string[], input?: string) =>
    new Promise<string>((resolve, reject) => {
      const child = spawn(file, [...flags, ...args], { stdio: ['pipe', 'pipe', 'pipe'] })
      let [out, errors] = ['', '']
      child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text))
      child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text))
      child.once('error', reject)
      child.once('close', (code) => {
        if (code === 0) return resolve(out)
        reject(new Error(`kubectl ${args.slice(0, 4).join(' ')}: ${errors.trim() || `ended with code ${code}`}`))
      })
      // kubectl may end without reading.
      child.stdin.on('error', () => {})
      child.stdin.end(input ?? '')
    })
  return Object.assign(kubectl, {
    json: async <T>(args: string[]) => JSON.parse(await kubectl([...args, '--output', 'json'])) as T,
    apply: (input: string, ...args: string[]) =>
      kubectl(
        ['apply', '--server-side', '--force-conflicts', '--field-manager', 'sidecart', ...args, '--filename', '-'],
        input,
      ),
    command,
  })
}

/**
 * Makes a port of a pod reachable on a port of this machine while `work` runs.
 * @param target such as `deployment/users`
 */
export async function withForwardedPort<T>(
  kubectl: Kubectl,
  { namespace, target, port }: { namespace: string; target: string; port: number },
  work: (localPort: number) => Promise<T>,
): Promise<T> {
  const [file = '', ...flags] = kubectl.command
  const child = startChild(file, [...flags, 'port-forward', '--namespace', namespace, target, `:${port}`])
  try {
    const local = await child.ready(
      `forward a port to ${target}`,
      () => Number(/^Forwarding from 127\.0\.0\.1:(\d+)/m.exec(child.tail())?.[1]) || undefined,
    )
    return await work(local)
  } finally {
    await child.kill()
  }
}
