import { createLocalJWKSet, decodeJwt, jwtVerify } from 'jose'
import { pino } from 'pino'
import { ulid } from 'ulid'
import { afterAll, describe, expect, test, vi } from 'vitest'
import * as z from 'zod'
import { UsersServiceService } from '#protos/shop/users/v1/users.ts'
import { watchTopic } from '../../platform/testing/events.ts'
import { startService } from '../../platform/testing/service.ts'
import { createSessions } from './session-store.ts'
import { createSigningKeys } from './signing-key-store.ts'
import { createUserStore } from './user-store.ts'

const [service, published] = await Promise.all([startService('users'), watchTopic('users')])
afterAll(() => Promise.all([service.close(), published.close()]))
const users = service.client(UsersServiceService)
const state = service.dapr.state('users-store')

const password = 'correct horse'
const newEmail = () => `Ada.${ulid()}@example.com`
async function register(email = newEmail()) {
  const { user } = await users.registerUser({ email, password, name: 'Ada', idempotencyKey: '' })
  return user!
}
async function logIn(email: string, given = password, client = '') {
  const { tokens } = await users.authenticateUser({ email, password: given, client })
  return tokens!
}
const registration = (idempotencyKey = '') => ({ email: newEmail(), password, name: 'Ada', idempotencyKey })
const code = (code: string) => expect.objectContaining({ code })

test('a user registers and is found', async () => {
  const user = await register()
  expect(user).toMatchObject({
    id: expect.stringMatching(/^u-[0-3][0-9a-f]{2}-/),
    name: 'Ada',
    roles: ['shopper'],
    active: true,
  })
  expect((await users.getUser({ userId: user.id })).user).toEqual(user)
  await users.validateUser({ userId: user.id })
})

test('of three registrations of one email at once, one succeeds', async () => {
  const email = newEmail()
  const outcomes = await Promise.allSettled(
    Array.from({ length: 3 }, (_, i) => register(i % 2 ? email : email.toUpperCase())),
  )
  const refused = outcomes.flatMap((o) => (o.status === 'rejected' ? [o.reason.code] : []))
  expect(refused).toEqual(Array(2).fill('email_taken'))
})

test('a registration that is repeated with its key returns the account', async () => {
  const request = registration(ulid())
  const first = await users.registerUser(request)
  expect(first.replayed).toBe(false)
  expect(await users.registerUser(request)).toEqual({ user: first.user, replayed: true })

  const outcomes = [
    { ...request, password: 'another horse' },
    { ...request, name: 'Eve' },
    { ...request, idempotencyKey: ulid() },
    { ...request, idempotencyKey: '' },
  ].map((other) => users.registerUser(other))
  expect(await Promise.allSettled(outcomes)).toEqual(
    ['idempotency_key_reused', 'idempotency_key_reused', 'email_taken', 'email_taken'].map((code) =>
      expect.objectContaining({ status: 'rejected', reason: expect.objectContaining({ code }) }),
    ),
  )
})

test('of five equal registrations with a key at once, all return the one account', async () => {
  const request = registration(ulid())
  const answers = await Promise.all(Array.from({ length: 5 }, () => users.registerUser(request)))
  expect(new Set(answers.map(({ user }) => user!.id)).size).toBe(1)
  expect(answers.filter(({ replayed }) => !replayed)).toHaveLength(1)
})

test.each([
  ['email', { email: 'nobody' }],
  ['email', { email: 'a\0@example.com' }],
  ['password', { password: 'short' }],
  ['name', { name: '\ud800' }],
])('a wrong %s is named', async (field, wrong) => {
  await expect(users.registerUser({ ...registration(), ...wrong })).rejects.toMatchObject({
    kind: 'invalid',
    fields: [{ field }],
  })
})

test.each([
  ['an empty one', ''],
  ['a short one', 'u-1'],
  ['one with a bar', 'nobody||else'],
  ['one that nobody has', 'u-000-01arz3ndektsv4rrffq69g5fav'],
  ['a control character', '\0'],
  ['a long one', 'x'.repeat(100_000)],
])('no user is found by an id that is %s', async (_, userId) => {
  await expect(users.getUser({ userId })).rejects.toEqual(code('user_not_found'))
  await expect(users.validateUser({ userId })).rejects.toEqual(code('user_not_found'))
  await expect(users.deactivateUser({ userId })).rejects.toEqual(code('user_not_found'))
})

describe('logging in', () => {
  test('gives a token that the published keys verify', async () => {
    const user = await register()
    const tokens = await logIn(` ${user.email.toUpperCase()}`)
    const keys = JSON.parse((await users.getJwks({})).jwksJson)
    const { payload, protectedHeader } = await jwtVerify(tokens.accessToken, createLocalJWKSet(keys), {
      issuer: 'sidecart',
      audience: 'sidecart',
      typ: 'at+jwt',
    })
    expect(payload).toMatchObject({ sub: user.id, roles: ['shopper'] })
    expect(payload.exp! - payload.iat!).toBe(tokens.expiresInSeconds)
    expect(protectedHeader.alg).toBe('ES256')
  })

  test('publishes no private key, in the set or in the store', async () => {
    const { jwksJson } = await users.getJwks({})
    const { keys } = JSON.parse(jwksJson)
    expect(keys.length).toBeGreaterThanOrEqual(2)
    expect(keys.flatMap(Object.keys)).not.toContain('d')
  })

  test('with a wrong password, an unknown email or no email is refused in the same words', async () => {
    const user = await register()
    const refusals = await Promise.all(
      [
        [user.email, 'wrong horse'],
        [newEmail(), password],
        ['nonsense', password],
        [user.email, ''],
        [user.email, 'x'.repeat(1_000_000)],
        ['\0', '\0'],
      ].map(([email, given]) => logIn(email!, given).catch((e) => [e.kind, e.code, e.message])),
    )
    expect(new Set(refusals.map(String)).size).toBe(1)
    expect(refusals[0]).toEqual(['unauthenticated', 'bad_credentials', expect.any(String)])
  })
})

/** The service's sessions, at another time. */
const sessionsAt = (now: () => Date) =>
  createSessions({
    state,
    // Keys of other periods than the service's, which are encrypted with its own secret.
    keys: createSigningKeys({ state, encryptionKey: Buffer.alloc(32), now: () => new Date(), periodMs: 60_000 }),
    findAccount: createUserStore({ state }).find,
    now,
    newId: ulid,
    log: pino({ enabled: false }),
  })
const in11Seconds = () => new Date(Date.now() + 11_000)
const refresh = async (refreshToken: string) => (await users.refreshTokens({ refreshToken })).tokens!
const sessionsOf = async (userId: string) => (await users.listSessions({ userId })).sessions

describe('a refresh token', () => {
  test('is exchanged for another one of the same session', async () => {
    const user = await register()
    const first = await logIn(user.email)
    const second = await refresh(first.refreshToken)
    const third = await refresh(second.refreshToken)
    expect(new Set([first, second, third].map(({ refreshToken }) => refreshToken)).size).toBe(3)
    expect(await sessionsOf(user.id)).toHaveLength(1)
    expect(new Set([first, third].map(({ accessToken }) => decodeJwt(accessToken)['sid'])).size).toBe(1)
  })

  test('that comes again at once is exchanged too: the first answer may be lost', async () => {
    const user = await register()
    const { refreshToken } = await logIn(user.email)
    const tokens = await Promise.all(Array.from({ length: 10 }, () => refresh(refreshToken)))
    expect(await sessionsOf(user.id)).toHaveLength(1)
    for (const each of tokens.slice(0, 2)) await refresh(each.refreshToken)
  })

  test('that comes again later was stolen: it ends its session, for whoever has it', async () => {
    const user = await register()
    const other = await logIn(user.email)
    const stolen = await logIn(user.email)
    const { refreshToken } = await refresh(stolen.refreshToken)
    await expect(sessionsAt(in11Seconds).refresh(stolen.refreshToken)).rejects.toEqual(code('bad_refresh_token'))
    await expect(refresh(refreshToken)).rejects.toEqual(code('bad_refresh_token'))
    expect(await sessionsOf(user.id)).toHaveLength(1)
    await refresh(other.refreshToken)
  })

  test.each([
    ['nothing', ''],
    ['a slot', '000.'],
    ['a token never issued', `000.${'A'.repeat(22)}.${'A'.repeat(43)}`],
    ['a control character', '\0'],
    ['a long text', 'x'.repeat(100_000)],
  ])('is not %s', async (_, refreshToken) => {
    await expect(users.refreshTokens({ refreshToken })).rejects.toEqual(code('bad_refresh_token'))
  })
})

test('a deactivated account neither logs in, nor refreshes, nor orders; deactivating twice is harmless', async () => {
  const user = await register()
  const { refreshToken } = await logIn(user.email)
  await users.deactivateUser({ userId: user.id })
  await users.deactivateUser({ userId: user.id })
  await expect(logIn(user.email)).rejects.toEqual(code('bad_credentials'))
  await expect(users.refreshTokens({ refreshToken })).rejects.toEqual(code('bad_refresh_token'))
  await expect(users.validateUser({ userId: user.id })).rejects.toEqual(code('user_deactivated'))
  expect((await users.getUser({ userId: user.id })).user!.active).toBe(false)
})

test('the events of an account are published in order, without personal data', async () => {
  const { id } = await register()
  await users.deactivateUser({ userId: id })
  await users.deactivateUser({ userId: id })
  expect(await published.eventsOf(id, 2)).toMatchObject([
    { type: 'users.user-registered.v1', source: 'users', sequence: '1', data: { userId: id } },
    { type: 'users.user-deactivated.v1', source: 'users', sequence: '2', data: { userId: id } },
  ])
  expect(JSON.stringify(await published.eventsOf(id, 2))).not.toMatch(/ada/i)
})

describe('an operator', () => {
  test('gives roles to an account, and the next token has them', async () => {
    const user = await register()
    const { user: changed } = await users.setUserRoles({
      email: user.email,
      roles: ['seller', 'shopper'],
      password: '',
      name: '',
    })
    expect(changed).toEqual({ ...user, roles: ['shopper', 'seller'] })
    const { accessToken } = await logIn(user.email)
    expect(JSON.parse(Buffer.from(accessToken.split('.')[1]!, 'base64url').toString()).roles).toEqual([
      'shopper',
      'seller',
    ])
  })

  test('creates the first admin, and may repeat it', async () => {
    const request = { email: newEmail(), roles: ['admin'], password, name: 'Root' }
    const [one, two] = [await users.setUserRoles(request), await users.setUserRoles(request)]
    expect(two).toEqual(one)
    expect(one.user!.roles).toEqual(['admin'])
    await logIn(request.email)
  })

  test('who names an unknown account gets an error', async () => {
    await expect(users.setUserRoles({ email: newEmail(), roles: ['admin'], password: '', name: '' })).rejects.toEqual(
      code('user_not_found'),
    )
  })
})

describe('signing keys', () => {
  const periodMs = 1_000
  const secret = Buffer.alloc(32, 1)
  /** A period that no other test and no service uses. */
  const newPeriod = () => Math.floor(Math.random() * 1e12)
  const keysAt = (period: () => number, encryptionKey = secret) =>
    createSigningKeys({ state, encryptionKey, now: () => new Date(period() * periodMs), periodMs })
  const kids = async (keys: ReturnType<typeof keysAt>) => (await keys.jwks()).keys.map((k) => Number(k.kid))

  test('are announced a period before they sign, and verify a period after', async () => {
    const first = newPeriod()
    let period = first
    const keys = keysAt(() => period)
    expect(await kids(keys)).toEqual([first, first + 1])
    const announced = (await keys.jwks()).keys[1]
    period++
    expect((await keys.current()).publicJwk).toEqual(announced)
    expect(await kids(keys)).toEqual([first, first + 1, first + 2])
    period++
    expect(await kids(keys)).toEqual([first + 1, first + 2, first + 3])
  })

  test('are the same for instances that create one at the same time', async () => {
    const period = newPeriod()
    const made = await Promise.all(Array.from({ length: 5 }, () => keysAt(() => period).current()))
    expect(new Set(made.map((k) => JSON.stringify(k.publicJwk))).size).toBe(1)
  })

  test('are stored so that no one signs with them without the secret', async () => {
    const period = newPeriod()
    await keysAt(() => period).current()
    const stored = await state.get(`signing-key:{keys}:${period}`, z.looseObject({}))
    expect(JSON.stringify(stored!.value)).not.toContain('"d"')
    await expect(keysAt(() => period, Buffer.alloc(32, 2)).current()).rejects.toThrow(/another jwt-encryption-key/)
  })
})

test('a refresh token expires', async () => {
  const user = await register()
  const { refreshToken } = await logIn(user.email)
  const inAMonth = () => new Date(Date.now() + 30 * 24 * 60 * 60 * 1_000 + 1_000)
  await expect(sessionsAt(inAMonth).refresh(refreshToken)).rejects.toEqual(code('bad_refresh_token'))
})

describe('sessions', () => {
  const sid = ({ accessToken }: { accessToken: string }) => decodeJwt(accessToken)['sid'] as string

  test('are listed, newest first, without a token', async () => {
    const user = await register()
    const tokens = [await logIn(user.email), await logIn(user.email)]
    const found = await sessionsOf(user.id)
    expect(found.map(({ id }) => id)).toEqual(tokens.map(sid).toReversed())
    expect(found[0]).toMatchObject({ createdAt: expect.any(String), lastUsedAt: expect.any(String) })
    const stored = await Promise.all(
      found.map(({ id }) => state.get(`session:{${user.id.slice(2, 5)}}:${id}`, z.looseObject({}))),
    )
    for (const { refreshToken } of tokens) expect(JSON.stringify(stored)).not.toContain(refreshToken.split('.')[2])
  })

  test('end one by one, or all but one; ending one twice is harmless, and of others it is unknown', async () => {
    const user = await register()
    const [a, b, c] = [await logIn(user.email), await logIn(user.email), await logIn(user.email)]
    await users.endSession({ userId: user.id, sessionId: sid(a) })
    await expect(refresh(a.refreshToken)).rejects.toEqual(code('bad_refresh_token'))
    await expect(users.endSession({ userId: user.id, sessionId: sid(a) })).rejects.toEqual(code('session_not_found'))
    const other = await register()
    await expect(users.endSession({ userId: other.id, sessionId: sid(b) })).rejects.toEqual(code('session_not_found'))
    await users.endSessions({ userId: user.id, exceptSessionId: sid(c) })
    await expect(refresh(b.refreshToken)).rejects.toEqual(code('bad_refresh_token'))
    await refresh(c.refreshToken)
    await users.endSessions({ userId: user.id, exceptSessionId: '' })
    expect(await sessionsOf(user.id)).toEqual([])
  })

  test('of an account are fifty at most: the oldest one ends', async () => {
    const user = await register()
    const account = (await createUserStore({ state }).find(user.id))!
    const sessions = sessionsAt(() => new Date())
    const first = await sessions.start(account)
    for (let i = 0; i < 50; i += 1) await sessions.start(account)
    expect(await sessionsOf(user.id)).toHaveLength(50)
    await expect(refresh(first.refreshToken)).rejects.toEqual(code('bad_refresh_token'))
  })
})

describe('changing a password', () => {
  const next = 'battery staple'
  const change = (userId: string, currentPassword: string, newPassword: string, sessionId = '') =>
    users.changePassword({ userId, currentPassword, newPassword, sessionId, client: '' })

  test('ends all other sessions, and the old password is wrong from then on', async () => {
    const user = await register()
    const [here, elsewhere] = [await logIn(user.email), await logIn(user.email)]
    await change(user.id, password, next, decodeJwt(here.accessToken)['sid'] as string)
    await expect(refresh(elsewhere.refreshToken)).rejects.toEqual(code('bad_refresh_token'))
    await refresh(here.refreshToken)
    await expect(logIn(user.email)).rejects.toEqual(code('bad_credentials'))
    await logIn(user.email, next)
  })

  test('needs the current one, which cannot be guessed here either, and a good new one', async () => {
    const user = await register()
    await expect(change(user.id, password, 'short')).rejects.toMatchObject({ fields: [{ field: 'newPassword' }] })
    for (let i = 0; i < 5; i += 1)
      await expect(change(user.id, 'wrong horse', next)).rejects.toMatchObject({ code: 'wrong_password' })
    await expect(change(user.id, password, next)).rejects.toEqual(code('too_many_guesses'))
  })
})

test('while its store is down it says so soon; it resumes when the store is back', async () => {
  const user = await register()
  const store = service.component('outbox-mongodb')
  await store.kill()
  const asked = Date.now()
  await expect(users.getUser({ userId: user.id })).rejects.toMatchObject({ kind: 'unavailable' })
  await expect(logIn(user.email)).rejects.toMatchObject({ kind: 'unavailable' })
  expect(Date.now() - asked).toBeLessThan(6_000)
  await store.start()
  await vi.waitFor(() => logIn(user.email), { timeout: 20_000, interval: 100 })
})

describe('guessing passwords', () => {
  const wrong = (email: string, client: string) => logIn(email, 'wrong horse', client).catch((error) => error)
  const guess = async (email: string, client: string, times: number) => {
    for (let i = 0; i < times; i += 1) expect(await wrong(email, client)).toMatchObject({ code: 'bad_credentials' })
  }

  test('after some wrong ones a client waits, even with the right one; others log in', async () => {
    const { email } = await register()
    await guess(email, 'a', 5)
    expect(await wrong(email.toUpperCase(), 'a')).toMatchObject({
      kind: 'exhausted',
      code: 'too_many_guesses',
      retryAfterSeconds: 1,
    })
    await expect(logIn(email, password, 'a')).rejects.toEqual(code('too_many_guesses'))
    await logIn(email, password, 'b')
    // The right password has come: all is forgotten.
    await logIn(email, password, 'a')
  })

  test('an account that does not exist is no different', async () => {
    const email = newEmail()
    await guess(email, 'a', 5)
    expect(await wrong(email, 'a')).toMatchObject({ code: 'too_many_guesses' })
  })

  test('guesses at once count as well, and neither address nor client is stored', async () => {
    const { email } = await register()
    await Promise.all(Array.from({ length: 12 }, () => wrong(email, '203.0.113.7')))
    const refused = await wrong(email, '203.0.113.7')
    expect(refused).toMatchObject({ code: 'too_many_guesses' })
    expect(refused.retryAfterSeconds).toBeGreaterThan(30)
  })
})

// The last one: the service does not come back.
test('a call that finds no service waits a second for one, in case a pod is just being replaced', async () => {
  const user = await register()
  await service.stopService()
  const asked = Date.now()
  await expect(users.getUser({ userId: user.id })).rejects.toMatchObject({ kind: 'unavailable' })
  expect(Date.now() - asked).toBeGreaterThan(950)
  expect(Date.now() - asked).toBeLessThan(10_000)
})
