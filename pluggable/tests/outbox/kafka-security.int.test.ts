import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startChild } from '../../../platform/child.ts'
import { freePorts } from '../../../platform/free-ports.ts'
import { startSecuredKafka, type SecuredKafka } from '../../../platform/testing/secured-servers.ts'
import { prepareSidecar } from '../../../platform/testing/sidecar.ts'
import { poll } from '../../../platform/poll.ts'
import { startComponentProcess, type ComponentProcess } from '../../../platform/testing/component-process.ts'
import { createTopic, event, mysqlUnderTest, openStore, type TestDatabase, type TestTopic } from '../stores.ts'

// A relay and a real broker that authenticate each other: correct settings, and settings with one
// mistake each.

let kafka: SecuredKafka
let component: ComponentProcess
let database: TestDatabase
let topic: TestTopic
let metricsPort = 0
let store: ReturnType<typeof openStore>

beforeAll(async () => {
  ;[metricsPort = 0] = await freePorts(1)
  ;[kafka, component, database] = await Promise.all([
    startSecuredKafka(),
    startComponentProcess('outbox-mysql', undefined, {
      env: { LOG_LEVEL: 'trace', METRICS_PORT: String(metricsPort) },
    }),
    mysqlUnderTest().createDatabase(),
  ])
  store = openStore(component.socket)
  topic = await createTopic(kafka.brokers.plaintext)
}, 120_000)

afterAll(async () => {
  store.close()
  await component.kill('SIGTERM')
  rmSync(component.folder, { recursive: true, force: true })
  await topic.drop()
  await database.drop()
  await kafka.close()
}, 60_000)

type Settings = Record<string, string>

const password = (): Settings => ({
  relayAuthType: 'password',
  relaySaslUsername: kafka.user.name,
  relaySaslPassword: kafka.user.password,
})
const scram = (): Settings => ({
  ...password(),
  relayBrokers: kafka.brokers.saslSsl,
  relaySaslMechanism: 'SHA-512',
  relayCaCert: kafka.authority.cert,
})
const clientCertificate = (): Settings => ({
  relayBrokers: kafka.brokers.mutualSsl,
  relayAuthType: 'mtls',
  relayCaCert: kafka.authority.cert,
  relayClientCert: kafka.client.cert,
  relayClientKey: kafka.client.key,
})
const serverCertificate = (): Settings => ({
  relayBrokers: kafka.brokers.ssl,
  relayAuthType: 'certificate',
  relayCaCert: kafka.authority.cert,
})

const right: Record<string, () => Settings> = {
  'no authentication': () => ({ relayBrokers: kafka.brokers.plaintext, relayAuthType: 'none' }),
  'password without TLS': () => ({ ...password(), relayBrokers: kafka.brokers.saslPlaintext, relayDisableTls: 'true' }),
  'SCRAM-SHA-512 with TLS': scram,
  'SCRAM-SHA-256 with TLS': () => ({ ...scram(), relaySaslMechanism: 'SHA-256' }),
  'SCRAM with an unverified certificate': () => ({ ...scram(), relayCaCert: '', relaySkipVerify: 'true' }),
  TLS: serverCertificate,
  'mutual TLS': clientCertificate,
}

const wrong: Record<string, { settings: () => Settings; log: string }> = {
  'the password, PLAIN': {
    settings: () => ({
      ...password(),
      relayBrokers: kafka.brokers.saslPlaintext,
      relayDisableTls: 'true',
      relaySaslPassword: 'not-it',
    }),
    log: 'Kafka rejected relaySaslUsername or relaySaslPassword',
  },
  'the password, SCRAM': {
    settings: () => ({ ...scram(), relaySaslPassword: 'not-it' }),
    log: 'Kafka rejected relaySaslUsername or relaySaslPassword',
  },
  'the user': {
    settings: () => ({ ...scram(), relaySaslUsername: 'nobody' }),
    log: 'Kafka rejected relaySaslUsername or relaySaslPassword',
  },
  'the mechanism': {
    settings: () => ({ ...scram(), relaySaslMechanism: 'PLAINTEXT' }),
    log: 'Kafka does not support relaySaslMechanism',
  },
  'the authority': {
    settings: () => ({ ...scram(), relayCaCert: kafka.stranger.cert }),
    log: 'not signed by relayCaCert',
  },
  'the missing authority': {
    settings: () => ({ ...scram(), relayCaCert: '' }),
    log: 'not signed by relayCaCert',
  },
  "the broker's name": {
    settings: () => ({ ...scram(), relayBrokers: kafka.brokers.saslSsl.replace('127.0.0.1', 'localhost') }),
    log: 'does not match the host in relayBrokers',
  },
  "the client's certificate": {
    settings: () => {
      const { cert, key } = kafka.stranger.issue('relay')
      return { ...clientCertificate(), relayClientCert: cert, relayClientKey: key }
    },
    log: 'Kafka rejected relayClientCert, or requires one',
  },
  'the missing client certificate': {
    settings: () => ({ ...serverCertificate(), relayBrokers: kafka.brokers.mutualSsl }),
    log: 'Kafka rejected relayClientCert, or requires one',
  },
  'TLS to a broker without it': {
    settings: () => ({ ...serverCertificate(), relayBrokers: kafka.brokers.plaintext }),
    log: 'Kafka does not speak TLS',
  },
  'no TLS to a broker with it': {
    settings: () => ({ relayBrokers: kafka.brokers.ssl }),
    log: 'if it requires TLS, set relayAuthType',
  },
  'an unknown topic': {
    settings: () => ({ ...scram(), relayTopic: 'nowhere' }),
    log: 'relayTopic does not exist in Kafka',
  },
}

const init = (settings: Settings) => store.init({ ...database.properties, relayTopic: topic.name, ...settings })
/** The component's log lines since a position in its output. */
const linesSince = (start: number) => component.output().slice(start).split('\n').slice(0, -1)

/** Returns the number of failed attempts to publish so far. */
async function errors(): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).text()
  return Number(/^outbox_relay_errors_total\{component="store",step="publish"\} (\d+)/m.exec(text)?.[1] ?? 0)
}

test.each(Object.keys(right))('events arrive: %s', async (name) => {
  await init(right[name]?.() ?? {})
  await store.transact([{ key: name, value: 1 }, event(name, { name })])
  await poll('the event', () => topic.ofKey(name).length > 0)
})

test.each(Object.keys(wrong))(
  '%s is wrong: commits succeed, the log and a metric say why, and events are published once it is right',
  async (name) => {
    const { settings, log } = wrong[name] ?? { settings: () => ({}), log: '' }
    const began = component.output().length
    const failed = await errors()
    await init(settings())
    await store.transact([{ key: name, value: 1 }, event(name, { name })])
    const line = await poll('a warning', () =>
      linesSince(began).find((each) => each.includes('relay failed, trying again')),
    )
    expect((JSON.parse(line) as { err: { message: string } }).err.message).toContain(log)
    await poll('a metric', async () => (await errors()) > failed)
    expect(topic.ofKey(name)).toEqual([])
    await init(scram())
    await poll('the event', () => topic.ofKey(name).length > 0)
  },
)

/** Starts a sidecar with a debug log and its credentials in one of Dapr's secret stores. */
async function startDaprd(settings: Settings) {
  const secrets = join(component.folder, '.secrets.json')
  const connectionString = database.properties['connectionString'] ?? ''
  writeFileSync(secrets, JSON.stringify({ mysql: connectionString, kafka: { password: kafka.user.password } }), {
    mode: 0o600,
  })
  const fromSecret = (name: string, key: string) => ({ name, secretKeyRef: { name: key, key } })
  const resource = (name: string, type: string, metadata: unknown[]) =>
    JSON.stringify({
      apiVersion: 'dapr.io/v1alpha1',
      kind: 'Component',
      metadata: { name },
      spec: { type, version: 'v1', metadata },
      auth: { secretStore: 'secrets' },
    })
  const { command, httpPort, apiToken, isHealthy, remove } = await prepareSidecar({
    appId: 'app',
    components: [
      { name: 'secrets', type: 'secretstores.local.file', metadata: { secretsFile: secrets, nestedSeparator: ':' } },
    ],
    resources: [
      resource('secret-store', 'state.outbox-mysql', [
        fromSecret('connectionString', 'mysql'),
        fromSecret('relaySaslPassword', 'kafka:password'),
        ...Object.entries(settings).map(([name, value]) => ({ name, value })),
      ]),
    ],
    folder: component.folder,
  })
  let output = ''
  const child = startChild(command.file, command.args.with(command.args.indexOf('warn'), 'debug'), {
    env: command.env,
    onOutput: (text) => (output += text),
  })
  return {
    isHealthy,
    output: () => output,
    hasEnded: () => child.end() !== undefined,
    transact: (operations: unknown[]) =>
      fetch(`http://127.0.0.1:${httpPort}/v1.0/state/secret-store/transaction`, {
        method: 'POST',
        headers: { 'dapr-api-token': apiToken, 'content-type': 'application/json' },
        body: JSON.stringify({ operations }),
      }),
    async close() {
      await child.kill()
      remove()
    },
  }
}

const withoutPassword = (): Settings => {
  const { relaySaslPassword: _, ...rest } = scram()
  return { ...rest, relayTopic: topic.name }
}
const expectNoSecrets = (log: string) => {
  for (const secret of [kafka.user.password, new URL(database.properties['connectionString'] ?? '').password])
    expect(log).not.toContain(secret)
}

test('connection string and password come from a secretKeyRef and are in no log', async () => {
  const began = component.output().length
  const daprd = await startDaprd(withoutPassword())
  try {
    await poll('the sidecar is healthy', daprd.isHealthy, { timeoutMs: 20_000 })
    const metadata = { 'outbox.projection': 'true', 'cloudevent.type': 'test.happened.v1' }
    const response = await daprd.transact([
      { operation: 'upsert', request: { key: 'by-secret', value: 1 } },
      { operation: 'upsert', request: { key: 'by-secret', value: { n: 1 }, metadata } },
    ])
    expect(response.status).toBe(204)
    await poll('the event', () => topic.ofKey('by-secret').length > 0)
  } finally {
    await daprd.close()
  }
  expect(daprd.output()).toContain('secret-store')
  expectNoSecrets(daprd.output())
  expectNoSecrets(component.output().slice(began))
})

test('a misspelt setting ends the sidecar, whose log names it but no secret', async () => {
  const daprd = await startDaprd({ ...withoutPassword(), relayTopc: 'orders' })
  try {
    await poll('the sidecar gives up', daprd.hasEnded, { timeoutMs: 20_000 })
  } finally {
    await daprd.close()
  }
  expect(daprd.output()).toMatch(
    /INVALID_SETTING: metadata field .*relayTopc.* unknown setting, did you mean .*relayTopic/,
  )
  expectNoSecrets(daprd.output())
})

test('no log contains a password or a private key', () => {
  expect(component.output()).not.toContain(kafka.user.password)
  expect(component.output()).not.toContain('not-it')
  expect(component.output()).not.toContain('PRIVATE KEY')
  expect(component.output()).toContain('relaySkipVerify: ')
})
