// A sidecar for measuring: a real daprd, without mTLS, with the components it is given.
import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createDapr, type Dapr } from '#lib/dapr.ts'
import { poll } from '../platform/poll.ts'
import { freePorts } from '../platform/testing/free-ports.ts'

export type DaprComponent = { name: string; type: string; metadata: Record<string, string> }

/**
 * Starts daprd in `folder`, where it also finds pluggable components' sockets, and waits until its components are ready.
 * @throws Error with its output when it does not come up
 */
export async function startSidecar(o: { daprd: string; appId: string; folder: string; components: DaprComponent[] }): Promise<{ dapr: Dapr; pid: number; close: () => Promise<void> }> {
  for (const { name, type, metadata } of o.components) {
    const resource = {
      apiVersion: 'dapr.io/v1alpha1', kind: 'Component', metadata: { name },
      spec: { type, version: 'v1', metadata: Object.entries(metadata).map(([field, value]) => ({ name: field, value })) },
    }
    // JSON is YAML.
    writeFileSync(join(o.folder, `${name}.yaml`), JSON.stringify(resource), { mode: 0o600 })
  }
  const nameResolution = { component: 'sqlite', version: 'v1', configuration: { connectionString: join(o.folder, 'names.db') } }
  const configuration = join(o.folder, 'configuration.json')
  writeFileSync(configuration, JSON.stringify({ apiVersion: 'dapr.io/v1alpha1', kind: 'Configuration', metadata: { name: 'bench' }, spec: { nameResolution } }))
  const [grpcPort = 0, httpPort = 0, internalPort = 0, metricsPort = 0] = await freePorts(4)
  const apiToken = randomUUID()
  const child = spawn(
    o.daprd,
    [
      '--app-id', o.appId, '--log-level', 'warn', '--dapr-listen-addresses', '127.0.0.1', '--dapr-grpc-port', String(grpcPort), '--dapr-http-port', String(httpPort),
      '--dapr-internal-grpc-listen-address', '127.0.0.1', '--dapr-internal-grpc-port', String(internalPort), '--metrics-listen-address', '127.0.0.1',
      '--metrics-port', String(metricsPort), '--resources-path', o.folder, '--config', configuration, '--dapr-graceful-shutdown-seconds', '1',
    ],
    { env: { PATH: process.env['PATH'], NAMESPACE: 'default', DAPR_API_TOKEN: apiToken, DAPR_COMPONENTS_SOCKETS_FOLDER: o.folder, DAPR_HOST_IP: '127.0.0.1' }, stdio: ['ignore', 'pipe', 'pipe'] },
  )
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (output = (output + chunk.toString()).slice(-8_000)))
  const ended = once(child, 'exit')
  const kill = () => child.kill('SIGKILL')
  // Nothing is left behind, however this process ends.
  process.once('exit', kill)
  const close = async () => {
    child.kill('SIGTERM')
    // What is still under way in the built-in outbox is of no interest.
    const timer = setTimeout(kill, 3_000)
    await ended
    clearTimeout(timer)
    process.off('exit', kill)
  }
  try {
    const healthy = async () => (await fetch(`http://127.0.0.1:${httpPort}/v1.0/healthz/outbound`)).ok
    await poll('the sidecar is healthy', healthy, { timeoutMs: 30_000, isFatal: () => child.exitCode !== null })
  } catch (error) {
    await close()
    throw new Error(`${(error as Error).message}\n${output}`, { cause: error })
  }
  const dapr = createDapr({ grpcPort, httpPort, apiToken })
  return {
    dapr,
    pid: child.pid ?? 0,
    async close() {
      dapr.close()
      await close()
    },
  }
}
