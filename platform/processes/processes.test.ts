import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { createPaths } from './paths.ts'
import { allPorts, createPorts } from './ports.ts'
import type { Context } from './context.ts'
import { writeGeneratedFiles } from './generated-files.ts'
import type { Process } from './process.ts'
import { describeProcesses } from './processes.ts'
import { loadSecrets } from './secrets.ts'

const folder = mkdtempSync(join(tmpdir(), 'sidecart-processes-'))
afterAll(() => rmSync(folder, { recursive: true }))

const found = (path: string) => ({ from: 'path', path, detail: path, printedVersion: '1.0' }) as const
const context: Context = {
  ports: createPorts(30_000),
  paths: createPaths('default', '/clone', '/cache'),
  secrets: loadSecrets(join(folder, 'secrets.json')),
  servers: {
    mongodb: found('/bin/mongod'),
    mysql: found('/bin/mysqld'),
    kafka: found('/kafka/libs'),
    jaeger: found('/bin/jaeger'),
    daprd: found('/bin/daprd'),
    sentry: found('/bin/sentry'),
  },
  jaegerIsMissing: false,
  trustAnchors: 'PEM',
  env: { CORS_ORIGINS: 'https://shop.example', MYSQL_URL: 'mysql://elsewhere' },
}
const processes = describeProcesses(context)
function named(name: string, list = processes): Process {
  const found = list.find((process) => process.name === name)
  if (found === undefined) throw new Error(`no process ${name}`)
  return found
}

test('no two processes share a port, and each port is in the table', () => {
  const ports = processes.flatMap((process) => process.ports)
  expect(new Set(ports).size).toBe(ports.length)
  expect(allPorts(context.ports)).toEqual(expect.arrayContaining(ports))
})

test('a second replica has its own ports, sockets and processes, and is else the same', () => {
  const with2 = describeProcesses({ ...context, replicas: ['orders', 'users'] })
  const ports = with2.flatMap((process) => process.ports)
  expect(new Set(ports).size).toBe(ports.length)
  expect(allPorts(context.ports)).toEqual(expect.arrayContaining(ports))
  const added = with2.filter(({ name }) => !processes.some((process) => process.name === name))
  expect(added.map(({ name }) => name)).toEqual([
    'orders-2-outbox-mysql',
    'orders-2-dapr',
    'orders-2',
    'users-2-outbox-mongodb',
    'users-2-dapr',
    'users-2',
  ])
  const [first, second] = [named('orders-dapr', with2), named('orders-2-dapr', with2)]
  expect(second.waitsFor).toEqual({ healthy: ['sentry', 'orders-2-outbox-mysql'], done: ['setup'] })
  expect(second.stopsBefore).toEqual(['orders-2', ...first.stopsBefore.slice(1)])
  expect(second.command[second.command.indexOf('--app-id') + 1]).toBe(
    first.command[first.command.indexOf('--app-id') + 1],
  )
  const sockets = 'DAPR_COMPONENTS_SOCKETS_FOLDER'
  expect(second.env[sockets]).not.toBe(first.env[sockets])
  expect(named('orders-2-outbox-mysql', with2).env[sockets]).toBe(second.env[sockets])
})

test('a service gets its own ports and tokens, and no address of a database or a broker', () => {
  expect(Object.keys(named('orders').env).toSorted()).toEqual([
    'ADMIN_PORT',
    'APP_API_TOKEN',
    'APP_PORT',
    'DAPR_API_TOKEN',
    'DAPR_GRPC_PORT',
    'DAPR_HTTP_PORT',
    'LOG_FORMAT',
    'LOG_LEVEL',
    'NODE_COMPILE_CACHE',
    'OTEL_EXPORTER_OTLP_ENDPOINT',
  ])
})

test('a sidecar waits for its components, for sentry, and for the topics', () => {
  expect(named('catalog-dapr').waitsFor).toMatchObject({
    healthy: ['sentry', 'catalog-outbox-mysql', 'catalog-outbox-mongodb', 'catalog-bindings-mongodb'],
    done: ['setup'],
  })
})

test('a server that is used by its address is no process, and its clients get that address', () => {
  const kafka = { from: 'address', address: 'kafka.example:9092', detail: '' } as const
  const others = describeProcesses({ ...context, servers: { ...context.servers, kafka } })
  expect(others.map(({ name }) => name)).not.toContain('kafka')
  writeGeneratedFiles({ ...context, paths: { ...context.paths, generated: folder }, servers: { kafka } })
  const secrets = JSON.parse(readFileSync(join(folder, 'dapr', 'orders', 'secrets.json'), 'utf8'))
  expect(secrets.kafka).toEqual({ brokers: 'kafka.example:9092' })
})

test('without the shop there are only the servers and the task that sets them up', () => {
  expect(describeProcesses(context, ['mysql']).map(({ name }) => name)).toEqual(['mysql', 'setup'])
})

test("a secret of a service's own is a variable of that service; its sidecar's is in no process", () => {
  const holders = processes.filter(({ env }) => 'JWT_ENCRYPTION_KEY' in env)
  expect(holders.map(({ name }) => name)).toEqual(['users'])
  expect(Buffer.from(named('users').env['JWT_ENCRYPTION_KEY'] ?? '', 'base64')).toHaveLength(32)
  expect(named('payments').env).not.toHaveProperty('PROVIDER_API_KEY')
})

test('settings in the environment reach the service whose line names them, and no other', () => {
  const receivers = processes.filter(({ env }) => 'CORS_ORIGINS' in env)
  expect(receivers.map(({ name }) => name)).toEqual(['gateway'])
})

describe('the edge', () => {
  const withEdge = (env: NodeJS.ProcessEnv = {}) =>
    describeProcesses({ ...context, servers: { ...context.servers, nginx: found('/bin/nginx') }, env })

  test('has the port of the API and ends before the gateway, whose requests it passes on', () => {
    const edge = named('edge', withEdge())
    expect(edge.ports).toEqual([context.ports.api, context.ports.edgeFiller])
    expect(edge).toMatchObject({ stopsBefore: ['gateway'], stopSignal: 'SIGQUIT' })
    expect(named('gateway', withEdge()).ports).not.toContain(context.ports.api)
  })

  test('is one hop more that the gateway trusts, and none where there is no nginx', () => {
    const hops = (list: Process[]) => named('gateway', list).env['TRUST_PROXY_HOPS']
    expect(hops(withEdge())).toBe('1')
    expect(hops(withEdge({ TRUST_PROXY_HOPS: '2' }))).toBe('3')
    expect(hops(processes)).toBeUndefined()
    expect(processes.map(({ name }) => name)).not.toContain('edge')
  })
})

test('a Jaeger that is still to be built starts later, and no process waits for it or its build', () => {
  const later = describeProcesses({ ...context, jaegerIsMissing: true })
  expect(named('jaeger', later)).toMatchObject({ startsLater: true })
  expect(named('build-jaeger', later)).toMatchObject({ kind: 'task', runsOnce: true })
  const awaited = later.flatMap(({ waitsFor }) => Object.values(waitsFor).flat())
  expect(awaited).not.toContain('jaeger')
  expect(awaited).not.toContain('build-jaeger')
})

test("a build of Jaeger gets the environment's settings for Go, and no address of a server", () => {
  const env = { GOPROXY: 'https://proxy.example', https_proxy: 'http://proxy', MYSQL_URL: 'mysql://elsewhere' }
  const build = named('build-jaeger', describeProcesses({ ...context, jaegerIsMissing: true, env }))
  expect(Object.keys(build.env).toSorted()).toEqual(['GOPROXY', 'NODE_COMPILE_CACHE', 'https_proxy'])
})
