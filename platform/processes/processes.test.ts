import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { createPaths } from './paths.ts'
import { allPorts, createPorts } from './ports.ts'
import { describeProcesses, type Context, type Process } from './processes.ts'
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
  trustAnchors: 'PEM',
  programs: () => true,
  log: { level: 'info', format: 'json' },
  gatewaySettings: {},
}
const processes = describeProcesses(context)
const named = (name: string): Process => {
  const one = processes.find((process) => process.name === name)
  if (one === undefined) throw new Error(`no process ${name}`)
  return one
}

test('no two processes have a port in common, and each port is of the table', () => {
  const ports = processes.flatMap((process) => process.ports)
  expect(new Set(ports).size).toBe(ports.length)
  expect(allPorts(context.ports)).toEqual(expect.arrayContaining(ports))
})

test('a service is told its own ports and tokens, and no address of a database or a broker', () => {
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
    healthy: ['sentry', 'catalog-outbox-mongodb', 'catalog-bindings-mongodb'],
    done: ['setup'],
  })
})

test('a server that is used by its address is no process, and its clients are told that address', () => {
  const kafka = { from: 'address', address: 'kafka.example:9092', detail: '' } as const
  const others = describeProcesses({ ...context, servers: { ...context.servers, kafka } })
  expect(others.map(({ name }) => name)).not.toContain('kafka')
  expect(others.find(({ name }) => name === 'orders-dapr')?.env['KAFKA_BROKERS']).toBe('kafka.example:9092')
})

test('servers alone are the servers and the task that sets them up', () => {
  expect(describeProcesses(context, ['mysql']).map(({ name }) => name)).toEqual(['mysql', 'setup'])
})
