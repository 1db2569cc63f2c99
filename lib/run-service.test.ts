import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { UsersServiceService } from '#protos/shop/users/v1/users.ts'
import { createDapr } from './dapr.ts'

// A service of one RPC in a process, without a sidecar: the client talks to its port directly.

const program = `
import { implement } from '#lib/grpc-server.ts'
import { runService } from '#lib/run-service.ts'
import { UsersServiceService } from '#protos/shop/users/v1/users.ts'
await runService('example', () => [implement(UsersServiceService, { validateUser: async () => ({}) })])
`

function run(env: Record<string, string>) {
  const child = spawn(process.execPath, ['--input-type=module-typescript', '-e', program], {
    cwd: join(import.meta.dirname, '..'),
    env: { PATH: process.env['PATH'], ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (bytes: Buffer) => (output += bytes))
  const exitCode = once(child, 'exit').then(([code]) => code as number | null)
  return { child, exitCode, output: () => output }
}

async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'))
  await Promise.all(servers.map((server) => once(server, 'listening')))
  const ports = servers.map((server) => (server.address() as AddressInfo).port)
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
  return ports
}

describe('a service', () => {
  let service: ReturnType<typeof run>
  let [app, admin, sidecarGrpc, sidecarHttp] = [0, 0, 0, 0]
  beforeAll(async () => {
    ;[app, admin, sidecarGrpc, sidecarHttp] = (await freePorts(4)) as [number, number, number, number]
    service = run({
      APP_PORT: String(app),
      ADMIN_PORT: String(admin),
      DAPR_GRPC_PORT: String(sidecarGrpc),
      DAPR_HTTP_PORT: String(sidecarHttp),
      DAPR_API_TOKEN: 'dapr',
      APP_API_TOKEN: 'app',
    })
    await vi.waitFor(() => get('/livez'), { timeout: 20_000, interval: 50 })
  })
  afterAll(() => void service.child.kill('SIGKILL'))
  const get = async (path: string) => {
    const response = await fetch(`http://127.0.0.1:${admin}${path}`)
    return [response.status, await response.text()]
  }

  test('serves what it was built of, to its sidecar only', async () => {
    for (const [apiToken, result] of [
      ['app', {}],
      ['other', 'bad_app_token'],
    ] as const) {
      const dapr = createDapr({ grpcPort: app, httpPort: sidecarHttp, apiToken })
      const call = dapr.client(UsersServiceService, 'example').validateUser({ userId: 'u' })
      expect(await call.catch((error) => error.code)).toEqual(result)
      dapr.close()
    }
  })

  test('is alive but not ready while its sidecar does not respond', async () => {
    expect(await get('/livez')).toEqual([200, 'ok\n'])
    expect(await get('/readyz')).toEqual([503, 'the sidecar does not respond\n'])
  })

  test('ends with 0 on SIGTERM', async () => {
    service.child.kill('SIGTERM')
    expect(await service.exitCode).toBe(0)
  })
})

test('a service names every missing or wrong setting and ends', async () => {
  const { exitCode, output } = run({ APP_PORT: 'x', ADMIN_PORT: '1' })
  expect(await exitCode).toBe(1)
  expect(output()).toMatch(/APP_PORT: [^]*DAPR_GRPC_PORT: [^]*APP_API_TOKEN: /)
  expect(output()).not.toContain('ADMIN_PORT: ')
})
