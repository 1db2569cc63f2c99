import { randomUUID } from 'node:crypto'
import { rmSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startSecuredMongodb, type SecuredMongodb } from '../../../platform/testing/secured-servers.ts'
import { startComponentProcess, type ComponentProcess } from '../../../platform/testing/component-process.ts'
import { event, failure, openStore } from '../stores.ts'

// Logins and certificates by the connection string's parameters. The server of all other tests
// requires passwords too.

let component: ComponentProcess
beforeAll(async () => {
  component = await startComponentProcess('outbox-mongodb', undefined, { env: { LOG_LEVEL: 'trace' } })
})
afterAll(async () => {
  await component.kill('SIGTERM')
  rmSync(component.folder, { recursive: true, force: true })
})

const databaseName = `test_${randomUUID().replaceAll('-', '')}`

async function refusal(connectionString: string): Promise<string> {
  const store = openStore(component.socket, 'refused')
  const { details } = await failure(store.init({ connectionString, databaseName })).finally(() => store.close())
  return details
}

test('Init names a wrong password, an unknown user and a missing login, without the password', async () => {
  const url = new URL(process.env['TEST_MONGODB_URI'] ?? '')
  url.password = 'not-it'
  expect(await refusal(url.href)).toMatch(/^STORE_UNAVAILABLE: MongoDB rejected the user or password/)
  url.username = 'nobody'
  expect(await refusal(url.href)).toMatch(/^STORE_UNAVAILABLE: MongoDB rejected the user or password/)
  url.username = url.password = ''
  url.searchParams.delete('authSource')
  expect(await refusal(url.href)).toMatch(/^STORE_UNAVAILABLE: MongoDB does not allow this user to use the database/)
})

test('an unreadable connection string is named but not repeated', async () => {
  const details = await refusal('mongodb://user:not-it@host:1:2/?replicaSet=r')
  expect(details).toMatch(/^INVALID_SETTING: metadata field "connectionString"/)
  expect(details).not.toContain('not-it')
})

describe('a server that requires TLS, with a certificate for 127.0.0.1 from a private authority', () => {
  let mongodb: SecuredMongodb | undefined
  beforeAll(async () => {
    mongodb = await startSecuredMongodb()
  }, 120_000)
  afterAll(() => mongodb?.close())

  const address = (server: SecuredMongodb, params: Record<string, string>, host = '127.0.0.1') => {
    const { user, password } = server.administrator
    const query = new URLSearchParams({ authSource: 'admin', ...params }).toString()
    return `mongodb://${user}:${password}@${host}:${server.port}/?${query}`
  }
  const replicaSet = { replicaSet: 'secantus' }

  test('every correct setting connects, and each wrong one gets its own error', async ({ skip }) => {
    // A mongod would need other options, which are not written yet.
    if (!mongodb) return skip('the MongoDB found is not SecantusDB')
    const { authority, stranger } = mongodb
    const tls = { tls: 'true', tlsCAFile: authority.certFile }
    const right = [
      address(mongodb, { ...replicaSet, ...tls }),
      address(mongodb, { ...replicaSet, ...tls, authMechanism: 'SCRAM-SHA-256' }),
      address(mongodb, { ...replicaSet, tls: 'true', tlsInsecure: 'true' }),
    ]
    for (const connectionString of right) {
      const store = openStore(component.socket)
      await store.init({ connectionString, databaseName })
      await store.transact([{ key: 'k', value: connectionString }])
      expect(await store.json('k')).toBe(connectionString)
      expect((await failure(store.transact([event('k', 1)]))).details).toMatch(/^EVENT_REFUSED/)
      store.close()
    }
    const direct = { directConnection: 'true' }
    expect(await refusal(address(mongodb, direct))).toMatch(
      /^STORE_UNAVAILABLE: MongoDB does not respond \(connection .* closed/,
    )
    const untrusted = /^STORE_UNAVAILABLE: MongoDB's certificate was rejected \(unable to verify/
    expect(await refusal(address(mongodb, { ...direct, tls: 'true' }))).toMatch(untrusted)
    expect(await refusal(address(mongodb, { ...direct, ...tls, tlsCAFile: stranger.certFile }))).toMatch(untrusted)
    expect(await refusal(address(mongodb, { ...direct, ...tls }, 'localhost'))).toMatch(
      /^STORE_UNAVAILABLE: MongoDB's certificate was rejected \(.*localhost/,
    )
    expect(await refusal(address(mongodb, { ...direct, ...tls, tlsCAFile: '/nowhere.pem' }))).toMatch(
      /^INVALID_SETTING: .*"connectionString".*nowhere\.pem/,
    )
    expect(component.output()).not.toContain(mongodb.administrator.password)
  }, 60_000)
})

test('no log contains a password', () => {
  const { password } = new URL(process.env['TEST_MONGODB_URI'] ?? '')
  expect(component.output()).toContain('initialised')
  for (const secret of [password, 'not-it']) expect(component.output()).not.toContain(secret)
})
