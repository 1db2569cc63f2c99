import { afterAll, beforeAll, expect, test } from 'vitest'
import { freePorts } from '../platform/testing/free-ports.ts'
import { startSecuredKafka, type SecuredKafka } from '../platform/testing/secured-servers.ts'
import { startComponentProcess, until, type ComponentProcess } from './host/component-process.ts'
import { createTopic, event, mysqlUnderTest, openStore, type TestDatabase, type TestTopic } from './outbox/testing.ts'

// A relay and a real broker that wants to know who it is, and that it must know. What is right, and what is wrong in one thing each.

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
    startComponentProcess('outbox-mysql', undefined, undefined, { LOG_LEVEL: 'trace', METRICS_PORT: String(metricsPort) }),
    mysqlUnderTest().createDatabase(),
  ])
  store = openStore(component.socket)
  topic = await createTopic(kafka.brokers.plaintext)
}, 120_000)

afterAll(async () => {
  store.close()
  await component.kill('SIGTERM')
  await topic.drop()
  await database.drop()
  await kafka.close()
}, 60_000)

type Settings = Record<string, string>

const password = (): Settings => ({ relayAuthType: 'password', relaySaslUsername: kafka.user.name, relaySaslPassword: kafka.user.password })
const scram = (): Settings => ({ ...password(), relayBrokers: kafka.brokers.saslSsl, relaySaslMechanism: 'SHA-512', relayCaCert: kafka.authority.cert })
const clientCertificate = (): Settings => ({
  relayBrokers: kafka.brokers.mutualSsl,
  relayAuthType: 'mtls',
  relayCaCert: kafka.authority.cert,
  relayClientCert: kafka.client.cert,
  relayClientKey: kafka.client.key,
})
const serverCertificate = (): Settings => ({ relayBrokers: kafka.brokers.ssl, relayAuthType: 'certificate', relayCaCert: kafka.authority.cert })

const right: Record<string, () => Settings> = {
  'no authentication': () => ({ relayBrokers: kafka.brokers.plaintext, relayAuthType: 'none' }),
  'password without TLS': () => ({ ...password(), relayBrokers: kafka.brokers.saslPlaintext, relayDisableTls: 'true' }),
  'SCRAM-SHA-512 with TLS': scram,
  'SCRAM-SHA-256 with TLS': () => ({ ...scram(), relaySaslMechanism: 'SHA-256' }),
  'SCRAM with a certificate that is not checked': () => ({ ...scram(), relayCaCert: '', relaySkipVerify: 'true' }),
  TLS: serverCertificate,
  'mutual TLS': clientCertificate,
}

const wrong: Record<string, { settings: () => Settings; log: string }> = {
  'the password, PLAIN': {
    settings: () => ({ ...password(), relayBrokers: kafka.brokers.saslPlaintext, relayDisableTls: 'true', relaySaslPassword: 'not-it' }),
    log: 'Kafka refuses relaySaslUsername or relaySaslPassword',
  },
  'the password, SCRAM': { settings: () => ({ ...scram(), relaySaslPassword: 'not-it' }), log: 'Kafka refuses relaySaslUsername or relaySaslPassword' },
  'the user': { settings: () => ({ ...scram(), relaySaslUsername: 'nobody' }), log: 'Kafka refuses relaySaslUsername or relaySaslPassword' },
  'the mechanism': { settings: () => ({ ...scram(), relaySaslMechanism: 'PLAINTEXT' }), log: 'Kafka does not take relaySaslMechanism' },
  'the authority': { settings: () => ({ ...scram(), relayCaCert: kafka.stranger.cert }), log: 'not signed by an authority of relayCaCert' },
  'no authority': { settings: () => ({ ...scram(), relayCaCert: '' }), log: 'not signed by an authority of relayCaCert' },
  "the broker's name": {
    settings: () => ({ ...scram(), relayBrokers: kafka.brokers.saslSsl.replace('127.0.0.1', 'localhost') }),
    log: 'for another host than relayBrokers names',
  },
  "the client's certificate": {
    settings: () => {
      const { cert, key } = kafka.stranger.issue('relay')
      return { ...clientCertificate(), relayClientCert: cert, relayClientKey: key }
    },
    log: 'Kafka refuses relayClientCert, or wants one',
  },
  'no certificate of the client': {
    settings: () => ({ ...serverCertificate(), relayBrokers: kafka.brokers.mutualSsl }),
    log: 'Kafka refuses relayClientCert, or wants one',
  },
  'TLS to a broker without': { settings: () => ({ ...serverCertificate(), relayBrokers: kafka.brokers.plaintext }), log: 'Kafka does not speak TLS' },
  'no TLS to a broker with it': { settings: () => ({ relayBrokers: kafka.brokers.ssl }), log: 'where it wants TLS, set relayAuthType' },
  'a topic that is not there': { settings: () => ({ ...scram(), relayTopic: 'nowhere' }), log: 'Kafka does not know relayTopic' },
}

const init = (settings: Settings) => store.init({ ...database.properties, relayTopic: topic.name, ...settings })
/** What this component wrote since a moment, one line each. */
const linesSince = (start: number) => component.output().slice(start).split('\n').slice(0, -1)

async function errors(): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).text()
  return Number(/^outbox_relay_errors_total\{component="store"\} (\d+)/m.exec(text)?.[1])
}

test.each(Object.keys(right))('events arrive: %s', async (name) => {
  await init(right[name]?.() ?? {})
  await store.transact([{ key: name, value: 1 }, event(name, { name })])
  await until('the event', () => topic.ofKey(name).length > 0)
})

test.each(Object.keys(wrong))('%s is wrong: commits go on, the log and a metric say why, and once it is put right the events go out', async (name) => {
  const { settings, log } = wrong[name] ?? { settings: () => ({}), log: '' }
  const began = component.output().length
  await init(settings())
  await store.transact([{ key: name, value: 1 }, event(name, { name })])
  const line = await until('a warning', () => linesSince(began).find((each) => each.includes('relay failed, trying again')))
  expect((JSON.parse(line) as { err: { message: string } }).err.message).toContain(log)
  await until('a metric', async () => (await errors()) > 0)
  expect(topic.ofKey(name)).toEqual([])
  await init(scram())
  await until('the event', () => topic.ofKey(name).length > 0)
})

test('no log tells a password or a private key', () => {
  expect(component.output()).not.toContain(kafka.user.password)
  expect(component.output()).not.toContain('not-it')
  expect(component.output()).not.toContain('PRIVATE KEY')
  expect(component.output()).toContain('relaySkipVerify: ')
})
