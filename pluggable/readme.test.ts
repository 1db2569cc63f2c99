import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { rootCertificates } from 'node:tls'
import { expect, test } from 'vitest'
import { parseAllDocuments } from 'yaml'
import { explainKafkaError } from './outbox/kafka-errors.ts'
import { parseMysqlSettings } from './outbox-mysql/metadata.ts'

// What README.md shows is what the components take.

const readme = readFileSync(join(import.meta.dirname, 'README.md'), 'utf8')
const containerfile = readFileSync(join(import.meta.dirname, 'image', 'Containerfile'), 'utf8')

type Resource = {
  kind: string
  metadata: { annotations?: Record<string, string> }
  spec: {
    type: string
    metadata: { name: string; value?: string }[]
    template: { spec: { volumes: { name: string }[] } }
  }
}
const yaml = /## In Kubernetes.*?```yaml\n(.*?)```/s.exec(readme)?.[1] ?? ''
const [component, deployment] = parseAllDocuments(yaml).map((document) => document.toJS() as Resource)

test('the files that it names are there', () => {
  const named = [...readme.matchAll(/`([\w./-]+\.(?:ts|go))`/g)].map(([, file = '']) => file)
  // Those of the whole project are named from its root.
  const missing = named.filter(
    (file) => !existsSync(join(import.meta.dirname, file)) && !existsSync(join(import.meta.dirname, '..', file)),
  )
  expect([named.length > 10, missing]).toEqual([true, []])
})

test('the stores take the settings of the example for Kubernetes', () => {
  // As if these stood in the secrets that it names.
  const secrets: Record<string, string> = {
    connectionString: /# (orders:password@tcp.*)$/m.exec(yaml)?.[1] ?? '',
    relaySaslPassword: 'password',
    relayCaCert: rootCertificates[0] ?? '',
  }
  const properties = Object.fromEntries(
    (component?.spec.metadata ?? []).map(({ name, value }) => [name, value ?? secrets[name] ?? 'unknown']),
  )
  expect(parseMysqlSettings(properties)).toMatchObject({
    address: { host: 'mysql.data.svc', database: 'orders', tls: 'verify-by-pem' },
    relayBrokers: [expect.any(String), expect.any(String), expect.any(String)],
    relaySaslMechanism: 'SHA-512',
  })
})

test("its container is the Containerfile's user, and its volumes are the pod's", () => {
  const container = JSON.parse(component?.metadata.annotations?.['dapr.io/component-container'] ?? '') as {
    name: string
    volumeMounts: { name: string }[]
    securityContext: { runAsUser: number; runAsGroup: number }
  }
  const { runAsUser, runAsGroup } = container.securityContext
  expect(containerfile).toContain(`USER ${runAsUser}:${runAsGroup}\n`)
  expect(containerfile).toContain(` AS ${container.name}\n`)
  const volumes = deployment?.spec.template.spec.volumes.map(({ name }) => name)
  expect(container.volumeMounts.map(({ name }) => name)).toEqual(volumes)
})

test.each([
  'SASL SCRAM SHA512 authentication failed: x',
  'The broker does not support the requested SASL mechanism',
  'Connection error: unable to verify the first certificate',
  "Connection error: Hostname/IP does not match certificate's altnames: x",
  'Connection error: ssl/tls alert bad certificate',
  'Connection error: Client network socket disconnected before secure TLS connection was established',
  'Closed connection',
  'This server does not host this topic-partition',
  'Not authorized to access topics: [Topic authorization failed]',
])('its troubleshooting knows what the log makes of "%s"', (message) => {
  const said = (explainKafkaError(new Error(message)) as Error).message.replace(/[;(].*$/s, '').trim()
  expect(said).not.toBe(message)
  expect(readme).toContain(said)
})
