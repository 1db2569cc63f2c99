import { generateKeyPairSync } from 'node:crypto'
import { rootCertificates } from 'node:tls'
import { expect, test } from 'vitest'
import { parseMysqlSettings } from '../outbox-mysql/metadata.ts'
import { explainKafkaError } from './kafka-errors.ts'
import { kafkaConnection } from './kafka-settings.ts'

const certificate = rootCertificates[0] ?? ''
const key = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  .privateKey.export({ type: 'pkcs8', format: 'pem' })
  .toString()
const base = { connectionString: 'mysql://u:p@localhost/db', relayBrokers: 'a:1', relayTopic: 't' }
const parse = (settings: Record<string, string>) => parseMysqlSettings({ ...base, ...settings })
const connection = (settings: Record<string, string>) => kafkaConnection(parse(settings))
const login = { relayAuthType: 'password', relaySaslUsername: 'u', relaySaslPassword: 's3cret' }

test('by default, and with none, there is neither TLS nor a password', () => {
  expect([connection({}), connection({ relayAuthType: 'none' })]).toEqual([{}, {}])
})

test('a password is sent over TLS unless disabled, with PLAIN unless another mechanism is set', () => {
  expect(connection(login)).toEqual({
    ssl: { rejectUnauthorized: true },
    sasl: { mechanism: 'plain', username: 'u', password: 's3cret' },
  })
  expect(
    connection({ ...login, relayAuthType: 'Password', relaySaslMechanism: 'SHA-512', relayDisableTls: 'true' }),
  ).toEqual({
    sasl: { mechanism: 'scram-sha-512', username: 'u', password: 's3cret' },
  })
})

test('relayCaCert and relaySkipVerify are passed on', () => {
  expect(connection({ relayAuthType: 'certificate', relayCaCert: certificate })).toEqual({
    ssl: { rejectUnauthorized: true, ca: certificate },
  })
  expect(connection({ ...login, relaySkipVerify: 'true' })).toMatchObject({ ssl: { rejectUnauthorized: false } })
})

test.each<[string, Record<string, string>, string]>([
  ['an unsupported authentication', { relayAuthType: 'oidc' }, 'relayAuthType": must be one of none, password'],
  [
    "another program's name for a mechanism",
    { ...login, relaySaslMechanism: 'SCRAM-SHA-512' },
    'relaySaslMechanism": must be one of PLAINTEXT',
  ],
  ['no password', { ...login, relaySaslPassword: '' }, 'relaySaslPassword": is required with relayAuthType password'],
  ['no authority', { relayAuthType: 'certificate' }, 'relayCaCert": is required'],
  [
    'a certificate without its key',
    { relayAuthType: 'mtls', relayClientCert: certificate },
    'relayClientKey": is required',
  ],
  [
    'a key of another certificate',
    { relayAuthType: 'mtls', relayClientCert: certificate, relayClientKey: key },
    'relayClientKey": does not belong to',
  ],
  [
    'an authority that would be ignored',
    { relayCaCert: certificate },
    'relayCaCert": is not used with relayAuthType none',
  ],
  [
    'an authority without TLS',
    { ...login, relayDisableTls: 'true', relayCaCert: certificate },
    'relayCaCert": is not used with relayDisableTls',
  ],
  [
    'mutual TLS without TLS',
    { relayAuthType: 'mtls', relayDisableTls: 'true' },
    'relayDisableTls": is not used with relayAuthType mtls',
  ],
  [
    'no PEM',
    { relayAuthType: 'certificate', relayCaCert: '/etc/ca.pem' },
    'relayCaCert": must be readable certificates',
  ],
  ['an unreadable key', { relayAuthType: 'mtls', relayClientKey: 'MIIE' }, 'relayClientKey": must be a private key'],
  ['neither true nor false', { ...login, relaySkipVerify: 'maybe' }, 'relaySkipVerify": must be true or false'],
  [
    'a login without brokers',
    { ...login, relayBrokers: '', relayTopic: '' },
    'relaySaslPassword": requires relayBrokers',
  ],
  ['a misspelt name', { relayTopc: 't' }, 'relayTopc": unknown setting, did you mean "relayTopic"?'],
  [
    'a setting that only pubsub.kafka has',
    { relayOidcTokenEndpoint: 'https://h' },
    'relayOidcTokenEndpoint": unknown setting',
  ],
])('%s is rejected, and named', (_, settings, message) => {
  expect(() => parse(settings)).toThrow(message)
  expect(() => parse(settings)).toThrow(/^(?!.*(s3cret|MIIE))/s)
})

test('an error of the Kafka client says which setting to check, once', () => {
  const twice = 'Connection error: self-signed certificate: Connection error: self-signed certificate'
  expect(explainKafkaError(new Error(twice))).toMatchObject({
    message: "Kafka's certificate is not signed by relayCaCert (Connection error: self-signed certificate)",
  })
  const other = new Error('something else')
  expect(explainKafkaError(other)).toBe(other)
})
