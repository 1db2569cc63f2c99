import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createConnection, type Connection } from 'mysql2/promise'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startSecuredMysql, type SecuredMysql } from '../../../platform/testing/secured-servers.ts'
import { startComponentProcess, type ComponentProcess } from '../../../platform/testing/component-process.ts'
import { failure, openStore } from '../stores.ts'

// A real server with a certificate from a private authority. The certificate is for localhost and
// not for 127.0.0.1, though both lead to the server. Servers word and time their refusals
// differently (MariaDB 10.11 denies access where 11.4 and MySQL name the transport, and sends the
// authority's certificate along), so the tests hold us to our own part of the message.

let mysql: SecuredMysql
let component: ComponentProcess
/** Its process trusts the server's authority as if it were a public one. */
let trusting: ComponentProcess
let administrator: Connection

beforeAll(async () => {
  mysql = await startSecuredMysql()
  ;[component, trusting] = await Promise.all([
    startComponentProcess('outbox-mysql', undefined, { env: { LOG_LEVEL: 'trace' } }),
    startComponentProcess('outbox-mysql', undefined, {
      env: { LOG_LEVEL: 'trace', NODE_EXTRA_CA_CERTS: mysql.authority.certFile },
    }),
  ])
  administrator = await createConnection({ host: '127.0.0.1', port: mysql.port, ...mysql.administrator })
  await administrator.query('CREATE DATABASE shop')
}, 120_000)

afterAll(async () => {
  await administrator.end()
  await Promise.all([component.kill('SIGTERM'), trusting.kill('SIGTERM')])
  for (const { folder } of [component, trusting]) rmSync(folder, { recursive: true, force: true })
  await mysql.close()
}, 60_000)

type Login = { user: string; password: string }

/** A connection string as a URL, and as state.mysql takes it. */
const url = (host: string, tls: string, { user, password }: Login = mysql.administrator) =>
  `mysql://${user}:${password}@${host}:${mysql.port}/shop?tls=${tls}`
const dsn = (host: string, tls: string, { user, password }: Login = mysql.administrator) =>
  `${user}:${password}@tcp(${host}:${mysql.port})/shop?allowNativePasswords=true&tls=${tls}`

async function works(connectionString: string, more: Record<string, string> = {}, process = component): Promise<void> {
  const store = openStore(process.socket)
  try {
    await store.init({ connectionString, ...more })
    await store.transact([{ key: 'k', value: 1 }])
    expect(await store.json('k')).toBe(1)
  } finally {
    store.close()
  }
}

async function refusal(connectionString: string, more: Record<string, string> = {}): Promise<string> {
  const store = openStore(component.socket, 'refused')
  const { details } = await failure(store.init({ connectionString, ...more })).finally(() => store.close())
  return details
}

const pem = () => ({ pemPath: mysql.authority.certFile })

test('a server that requires TLS: the error names tls, and every kind of TLS works', async () => {
  await administrator.query('SET GLOBAL require_secure_transport = ON')
  try {
    expect(await refusal(url('localhost', 'false'))).toMatch(
      /^STORE_UNAVAILABLE: MySQL (requires TLS, see tls|rejected .* requires TLS)/,
    )
    await works(url('localhost', 'custom'), pem())
    await works(dsn('localhost', 'custom'), pem())
    await works(url('127.0.0.1', 'skip-verify'))
    await works(url('localhost', 'true'), {}, trusting)
  } finally {
    await administrator.query('SET GLOBAL require_secure_transport = OFF')
  }
})

test('a user who requires TLS can log in with TLS only', async () => {
  const withoutTls = await refusal(url('localhost', 'false', mysql.careful))
  expect(withoutTls).toMatch(/or requires TLS for this user \(Access denied/)
  await works(url('localhost', 'custom', mysql.careful), pem())
})

test.each(['true', 'custom'])('tls=%s: a certificate from an unknown authority is rejected', async (tls) => {
  expect(await refusal(url('localhost', tls), { pemPath: mysql.stranger.certFile })).toMatch(
    /^STORE_UNAVAILABLE: MySQL's certificate was rejected \(/,
  )
})

test('a certificate for another host is rejected, also when the server is reached by address', async () => {
  expect(await refusal(url('127.0.0.1', 'custom'), pem())).toMatch(
    /^STORE_UNAVAILABLE: MySQL's certificate was rejected \(.*altnames.*127\.0\.0\.1/,
  )
})

test('a pemPath without a certificate is named', async () => {
  const empty = join(component.folder, 'empty.pem')
  writeFileSync(empty, '')
  expect(await refusal(url('localhost', 'custom'), { pemPath: empty })).toMatch(
    /^INVALID_SETTING: metadata field "pemPath"/,
  )
  expect(await refusal(url('localhost', 'custom'), { pemPath: '/nowhere.pem' })).toMatch(
    /^INVALID_SETTING: metadata field "pemPath".*ENOENT/,
  )
  expect(await refusal(url('localhost', 'custom'))).toMatch(/^INVALID_SETTING: .*tls=custom needs pemPath/)
})

test('a wrong password and an unavailable server get different errors', async () => {
  expect(await refusal(url('localhost', 'custom', { ...mysql.administrator, password: 'not-it' }), pem())).toMatch(
    /^STORE_UNAVAILABLE: MySQL rejected the user or password in connectionString/,
  )
  expect(await refusal('mysql://u:p@127.0.0.1:1/shop')).toMatch(/^STORE_UNAVAILABLE: MySQL does not respond/)
})

test('a certificate for an address is accepted at that address only', async () => {
  mysql.authority.issue('mysql', ['IP:127.0.0.1'])
  await administrator.query('FLUSH SSL').catch(() => administrator.query('ALTER INSTANCE RELOAD TLS'))
  await works(url('127.0.0.1', 'custom'), pem())
  expect(await refusal(url('localhost', 'custom'), pem())).toMatch(/MySQL's certificate was rejected/)
})

test('no log contains a password', () => {
  const output = component.output() + trusting.output()
  expect(output).toContain('initialised')
  for (const secret of [mysql.administrator.password, mysql.careful.password, 'not-it'])
    expect(output).not.toContain(secret)
})
