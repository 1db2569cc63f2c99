// A real sidecar for a test, with the resources that it is given and nothing else.
import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { poll } from '../poll.ts'
import { createProgress } from '../progress.ts'
import { ensureParts } from '../servers/ensure.ts'
import { freePorts } from './free-ports.ts'

export type Sidecar = {
  grpcPort: number
  httpPort: number
  apiToken: string
  close: () => Promise<void>
}

/** Dapr's Component as a resource for `startSidecar`. */
export function componentResource(name: string, type: string, metadata: Record<string, string>): string {
  const entries = Object.entries(metadata).map(([key, value]) => ({ name: key, value }))
  // JSON is YAML.
  return JSON.stringify({ apiVersion: 'dapr.io/v1alpha1', kind: 'Component', metadata: { name }, spec: { type, version: 'v1', metadata: entries } })
}

/**
 * Starts a sidecar and waits until it is healthy.
 * @param o.resources as YAML
 * @param o.socketsFolder where pluggable components listen already
 * @throws Error with its output when it ends instead
 */
export async function startSidecar(o: { appId: string; resources: string[]; socketsFolder?: string }): Promise<Sidecar> {
  const progress = createProgress()
  const { daprd } = await ensureParts(['daprd'], progress).finally(() => progress.close())
  if (daprd.from === 'address') throw new Error('the sidecar has to be a program')
  const folder = mkdtempSync(join(tmpdir(), 'sidecar-'))
  for (const [i, resource] of o.resources.entries()) writeFileSync(join(folder, `${i}.yaml`), resource)
  const nameResolution = { component: 'sqlite', version: 'v1', configuration: { connectionString: join(folder, 'names.db') } }
  const configuration = { apiVersion: 'dapr.io/v1alpha1', kind: 'Configuration', metadata: { name: 'test' }, spec: { nameResolution } }
  const configurationFile = join(folder, 'configuration.json')
  writeFileSync(configurationFile, JSON.stringify(configuration))

  const [grpcPort = 0, httpPort = 0, internalPort = 0, metricsPort = 0] = await freePorts(4)
  const apiToken = randomUUID()
  const child = spawn(daprd.path, [
    '--app-id', o.appId, '--dapr-listen-addresses', '127.0.0.1', '--dapr-grpc-port', String(grpcPort), '--dapr-http-port', String(httpPort),
    '--dapr-internal-grpc-listen-address', '127.0.0.1', '--dapr-internal-grpc-port', String(internalPort), '--metrics-listen-address', '127.0.0.1',
    '--metrics-port', String(metricsPort), '--resources-path', folder, '--config', configurationFile, '--dapr-graceful-shutdown-seconds', '1',
  ], {
    env: { PATH: process.env['PATH'], DAPR_API_TOKEN: apiToken, DAPR_COMPONENTS_SOCKETS_FOLDER: o.socketsFolder ?? folder, DAPR_HOST_IP: '127.0.0.1' },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let output = ''
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()))
  const ended = once(child, 'exit')
  const close = async () => {
    child.kill('SIGTERM')
    await ended
    rmSync(folder, { recursive: true, force: true })
  }
  try {
    await poll('the sidecar is healthy', async () => {
      if (child.exitCode !== null) throw new Error(output)
      return (await fetch(`http://127.0.0.1:${httpPort}/v1.0/healthz/outbound`)).ok
    }, { timeoutMs: 30_000, isFatal: () => child.exitCode !== null })
  } catch (error) {
    await close()
    throw error
  }
  return { grpcPort, httpPort, apiToken, close }
}
