import { expect, test } from 'vitest'
import { parseConnectionString } from './connection-string.ts'

test.each([
  ['mysql://user:p%40ss@db:3307/shop', { host: 'db', port: 3307, user: 'user', password: 'p@ss', database: 'shop' }],
  [
    'mysql://user@[::1]/shop?tls=true',
    { host: '::1', port: 3306, user: 'user', password: '', database: 'shop', tls: 'verify' },
  ],
  [
    'user:p@s/s:w@tcp(db:3307)/?allowNativePasswords=true',
    { host: 'db', port: 3307, user: 'user', password: 'p@s/s:w', database: 'dapr_state_store' },
  ],
  [
    'user:pw@tcp(db)/shop?tls=custom',
    { host: 'db', port: 3306, user: 'user', password: 'pw', database: 'shop', tls: 'verify-by-pem' },
  ],
  [
    'root@unix(/run/mysqld/mysqld.sock)/shop',
    { socketPath: '/run/mysqld/mysqld.sock', user: 'root', password: '', database: 'shop' },
  ],
  ['/shop', { host: '127.0.0.1', port: 3306, user: '', password: '', database: 'shop' }],
])('%s', (text, expected) => {
  expect(parseConnectionString(text)).toEqual(expected)
})

test('schemaName is the database if the connection string names none', () => {
  expect(
    ['u@tcp(h)/', 'u@tcp(h)/named', 'mysql://u@h'].map((text) => parseConnectionString(text, 'schema').database),
  ).toEqual(['schema', 'named', 'schema'])
})

test('true and false are parsed as in Go', () => {
  expect(
    ['true', 'True', '1', 'false', '0', 'skip-verify'].map((tls) => parseConnectionString(`u@tcp(h)/d?tls=${tls}`).tls),
  ).toEqual(['verify', 'verify', 'verify', undefined, undefined, 'skip-verify'])
})

test.each([
  'nonsense',
  'mysql://user:secret@host',
  'mysql://user:secret@host/d?ssl-mode=REQUIRED',
  'user:secret@tcp(h)/d?tls=other',
])('rejected without repeating the password: %s', (text) => {
  expect(() => parseConnectionString(text)).toThrow(/^(?!.*secret)/s)
})
