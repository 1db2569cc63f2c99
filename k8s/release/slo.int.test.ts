// The script against a real Prometheus that scrapes two versions of a gateway.
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Histogram, Registry } from 'prom-client'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { stringify } from 'yaml'
import { serveAdmin } from '#lib/admin-server.ts'
import { freePorts } from '../../platform/free-ports.ts'
import { poll } from '../../platform/poll.ts'
import { root } from '../../platform/processes/paths.ts'
import { ensurePrometheus } from './prometheus-programs.ts'
import { readFigures } from './prometheus.ts'

const closers: (() => unknown)[] = []
let prometheus: string

/** The gateway's metric, as services/gateway/http/observability.ts has it. */
async function serveGateway() {
  const registry = new Registry()
  const duration = new Histogram({
    name: 'http_server_duration_seconds',
    help: 'Duration of HTTP requests by route, method and status',
    labelNames: ['route', 'method', 'status'],
    buckets: [0.1, 0.5, 1],
    registers: [registry],
  })
  const answer = (status: number, seconds: number) =>
    duration.observe({ route: '/v1/products', method: 'GET', status }, seconds)
  const close = await serveAdmin(0, () => true, { registry })
  closers.push(close)
  // Prometheus counts the increase of a series, so that a series must be there before.
  answer(200, 0.01)
  answer(500, 0.01)
  return { port: close.port, answer }
}
type Gateway = Awaited<ReturnType<typeof serveGateway>>

let gateways: Record<'gateway' | 'gateway-canary' | 'gateway-broken', Gateway>

beforeAll(async () => {
  gateways = {
    gateway: await serveGateway(),
    'gateway-canary': await serveGateway(),
    'gateway-broken': await serveGateway(),
  }
  const folder = mkdtempSync(join(tmpdir(), 'prometheus-'))
  closers.push(() => rmSync(folder, { recursive: true }))
  const scrape_configs = Object.entries(gateways).map(([service, { port }]) => ({
    job_name: service,
    static_configs: [{ targets: [`127.0.0.1:${port}`], labels: { namespace: 'shop', service } }],
  }))
  writeFileSync(join(folder, 'prometheus.yml'), stringify({ global: { scrape_interval: '1s' }, scrape_configs }))
  const [port] = await freePorts(1)
  prometheus = `http://127.0.0.1:${port}`
  const args = [`--config.file=${join(folder, 'prometheus.yml')}`, `--storage.tsdb.path=${join(folder, 'data')}`]
  const child: ChildProcess = spawn(
    (await ensurePrometheus()).prometheus,
    [...args, `--web.listen-address=127.0.0.1:${port}`],
    {
      stdio: 'ignore',
    },
  )
  closers.push(async () => {
    child.kill()
    if (child.exitCode === null) await once(child, 'exit')
  })
  await poll('first scrape', async () => (await figures('gateway-broken'))?.requests !== undefined)
  for (let i = 0; i < 300; i++) {
    gateways.gateway.answer(200, 0.05)
    gateways['gateway-canary'].answer(200, 0.05)
    gateways['gateway-broken'].answer(i % 20 === 0 ? 503 : 200, i % 4 === 0 ? 0.7 : 0.05)
    gateways['gateway-broken'].answer(i % 20 === 0 ? 500 : 200, 0.05)
  }
  await poll('all requests counted', async () => ((await figures('gateway-broken'))?.requests ?? 0) >= 500)
}, 120_000)

afterAll(async () => {
  for (const close of closers.toReversed()) await close()
})

const figures = (service: string) =>
  readFigures(prometheus, { namespace: 'shop', service, seconds: 60 }).catch(() => undefined)

it('reads what failed and what was slow', async () => {
  const { requests, failed, slow } = (await figures('gateway-broken'))!
  expect(requests).toBeGreaterThan(500)
  expect(failed / requests).toBeCloseTo(0.03, 1)
  expect(slow / requests).toBeCloseTo(0.125, 1)
  expect(await figures('gateway-unknown')).toBeUndefined()
})

const run = async (canary: string) => {
  const args = ['k8s/release/slo.ts', '--prometheus', prometheus, '--canary', canary]
  const child = spawn(process.execPath, [...args, '--minutes', '0.02', '--interval', '1'], { cwd: root })
  let output = ''
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()))
  const [code] = (await once(child, 'exit')) as [number]
  return { code, output }
}

it('promotes a canary that keeps the promise', async () => {
  const { code, output } = await run('gateway-canary')
  expect(output).toMatch(/promote: \d+ requests, 0\.00% failed, 0\.00% slow/)
  expect(code).toBe(0)
})

it('rolls back one that does not, and one that nobody asks', async () => {
  const broken = await run('gateway-broken')
  expect(broken.output).toMatch(/roll back: .*% of the canary's requests failed/)
  expect(broken.code).toBe(1)
  expect((await run('gateway-unknown')).code).toBe(1)
})
