import { randomBytes } from 'node:crypto'
import { expect, test } from 'vitest'
import { cardNumber, findLeaks, passwordMark, secretsIn } from './leaks.ts'

const part = (bytes: number) => randomBytes(bytes).toString('base64url')
const secrets = new Map([['services.users.database', 'f00dcafef00dcafe']])
const kinds = (text: string) => findLeaks(text, secrets).map(({ what }) => what)

test.each([
  ['an e-mail address', 'GET /users?email=a.b%2bc%40Example.com HTTP/1.1'],
  ['an e-mail address', '{"email":"shopper-1@example.com"}'],
  ['a password', `{"password":"${passwordMark}1"}`],
  ['an access token', `authorization: Bearer eyJ${part(20)}.eyJ${part(20)}.${part(64)}`],
  ['a refresh token', `{"refreshToken":"1a2.${part(16)}.${part(32)}"}`],
  ["a card's number", `method ${cardNumber} is unknown`],
  ['services.users.database', 'mongodb://users:f00dcafef00dcafe@127.0.0.1/'],
])('%s is found', (what, text) => {
  expect(kinds(text)).toEqual([what])
})

test('nothing else is', () => {
  expect(
    kinds('{"userId":"user-2c1.01ARZ3NDEKTSV4RRFFQ69G5FAV","traceparent":"00-4bf9-00","method":"pm_card_visa"}'),
  ).toEqual([])
})

test('a leak is shown with what is around it', () => {
  const [leak] = findLeaks(`${'x'.repeat(500)} card ${cardNumber} ${'y'.repeat(500)}`, secrets)
  expect(leak?.context).toHaveLength(80 + cardNumber.length + 80)
  expect(leak?.context).toContain(` card ${cardNumber} `)
})

test('the secrets of an object are its texts, without those that are none', () => {
  const found = secretsIn({ root: 'a', id: 'b', services: { users: { key: 'c' } } }, (path) => path !== 'id')
  expect([...found]).toEqual([
    ['root', 'a'],
    ['services.users.key', 'c'],
  ])
})
