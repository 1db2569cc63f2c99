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

test('nothing said, or none: neither TLS nor a password', () => {
  expect([connection({}), connection({ relayAuthType: 'none' })]).toEqual([{}, {}])
})

test('a password goes over TLS unless that is switched off, with PLAIN unless another mechanism is named', () => {
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

test('authorities and the choice not to check them are passed on', () => {
  expect(connection({ relayAuthType: 'certificate', relayCaCert: certificate })).toEqual({
    ssl: { rejectUnauthorized: true, ca: certificate },
  })
  expect(connection({ ...login, relaySkipVerify: 'true' })).toMatchObject({ ssl: { rejectUnauthorized: false } })
})

test.each<[string, Record<string, string>, string]>([
  [
    'an authentication that the Kafka client lacks',
    { relayAuthType: 'oidc' },
    'relayAuthType": "oidc" is not supported: it may be none, password',
  ],
  [
    "another program's name for a mechanism",
    { ...login, relaySaslMechanism: 'SCRAM-SHA-512' },
    'relaySaslMechanism": "SCRAM-SHA-512" is not supported',
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
    'an authority that would not be heeded',
    { relayCaCert: certificate },
    'relayCaCert": is not used with relayAuthType none',
  ],
  [
    'an authority, but no TLS',
    { ...login, relayDisableTls: 'true', relayCaCert: certificate },
    'relayCaCert": is not used with relayDisableTls',
  ],
  [
    'mutual TLS without TLS',
    { relayAuthType: 'mtls', relayDisableTls: 'true' },
    'relayDisableTls": is not used with relayAuthType mtls',
  ],
  ['no PEM', { relayAuthType: 'certificate', relayCaCert: '/etc/ca.pem' }, 'relayCaCert": holds no certificate'],
  [
    'a key that cannot be read',
    { relayAuthType: 'mtls', relayClientKey: 'MIIE' },
    'relayClientKey": is no private key',
  ],
  ['neither true nor false', { ...login, relaySkipVerify: 'maybe' }, 'relaySkipVerify": must be true or false'],
  ['a login for no broker', { ...login, relayBrokers: '', relayTopic: '' }, 'relaySaslPassword": needs relayBrokers'],
  ['a misspelt name', { relayTopc: 't' }, 'relayTopc": is no setting of this component; is "relayTopic" meant?'],
  [
    "a setting of pubsub.kafka's that is not here",
    { relayOidcTokenEndpoint: 'https://h' },
    'relayOidcTokenEndpoint": is no setting of this component',
  ],
])('%s is refused, and named', (_, settings, message) => {
  expect(() => parse(settings)).toThrow(message)
  expect(() => parse(settings)).toThrow(/^(?!.*(s3cret|MIIE))/s)
})

test('an error of the Kafka client says which setting to look at, once', () => {
  const twice = 'Connection error: self-signed certificate: Connection error: self-signed certificate'
  expect(explainKafkaError(new Error(twice))).toMatchObject({
    message:
      "Kafka's certificate is not signed by an authority of relayCaCert (Connection error: self-signed certificate)",
  })
  const other = new Error('something else')
  expect(explainKafkaError(other)).toBe(other)
})
