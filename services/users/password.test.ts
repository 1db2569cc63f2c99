import { expect, test } from 'vitest'
import { createPasswords } from './password.ts'

test('a hash is argon2id with its own salt, and matches only its own password', async () => {
  const passwords = createPasswords()
  const [one, other] = await Promise.all([passwords.hash('pässword'), passwords.hash('pässword')])
  expect(one).toMatch(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/)
  expect(one).not.toBe(other)
  expect(await passwords.verify('pässword', one)).toBe(true)
  expect(await passwords.verify('passwort', one)).toBe(false)
})

test('a hash with other parameters is verified by these', async () => {
  // The reference implementation's own test: argon2 somesalt -id -t 2 -m 16 -p 1 < password
  const phc = '$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc'
  expect(await createPasswords().verify('password', phc)).toBe(true)
})

test('without an account no password matches', async () => {
  expect(await createPasswords().verify('', undefined)).toBe(false)
})

test('a client with more log-ins than it may have waiting is refused at once, and the others succeed', async () => {
  const passwords = createPasswords({ concurrency: 1, perClient: 1, maxWaitMs: 60_000 })
  const outcomes = await Promise.allSettled(['a', 'b', 'c'].map((p) => passwords.verify(p, undefined, 'client')))
  expect(outcomes.map((o) => (o.status === 'fulfilled' ? o.value : o.reason.code))).toEqual([
    false,
    false,
    'too_many_logins',
  ])
  expect(await passwords.verify('again', undefined)).toBe(false)
})

test('clients have their turns one after another, however many log-ins one of them has waiting', async () => {
  const passwords = createPasswords({ concurrency: 1, maxWaitMs: 60_000 })
  const turns: string[] = []
  const logIn = (client: string) => passwords.verify('x', undefined, client).then(() => turns.push(client))
  await Promise.all([...Array.from({ length: 6 }, () => logIn('many')), logIn('one'), logIn('other')])
  expect(turns.slice(0, 4).toSorted()).toEqual(['many', 'many', 'one', 'other'])
})

test('a flash sale: the log-ins of seventy clients are all served', async () => {
  const passwords = createPasswords({ maxWaitMs: 60_000 })
  const outcomes = await Promise.all(
    Array.from({ length: 70 }, (_, i) => passwords.verify('x', undefined, `client ${i}`)),
  )
  expect(outcomes).toEqual(Array(70).fill(false))
})

test('a log-in that waited too long is refused and leaves the queue', async () => {
  const passwords = createPasswords({ concurrency: 1, maxWaitMs: 1 })
  const [slow, refused] = await Promise.allSettled([passwords.verify('a', undefined), passwords.verify('b', undefined)])
  expect([slow.status, refused.status]).toEqual(['fulfilled', 'rejected'])
  expect(await passwords.verify('again', undefined)).toBe(false)
})
