import { exportJWK, generateKeyPair, SignJWT } from 'jose'
import { describe, expect, test } from 'vitest'
import { AppError, unauthenticated, unavailable } from '#lib/errors.ts'
import { poll } from '../../platform/poll.ts'
import { createAuth } from './auth.ts'

async function signer(kid: string) {
  const { publicKey, privateKey } = await generateKeyPair('ES256')
  const jwk = { ...(await exportJWK(publicKey)), kid, alg: 'ES256' }
  return { jwk, privateKey, header: `Bearer ${await sign({ jwk, privateKey }, '1h')}` }
}

type Signer = { jwk: { kid: string }; privateKey: Awaited<ReturnType<typeof generateKeyPair>>['privateKey'] }

const sign = ({ jwk, privateKey }: Signer, expires: string | number, issuedAt?: number) =>
  new SignJWT({ roles: ['shopper'], sid: 's-1' })
    .setProtectedHeader({ alg: 'ES256', kid: jwk.kid, typ: 'at+jwt' })
    .setSubject('u-1')
    .setIssuer('sidecart')
    .setAudience('sidecart')
    .setIssuedAt(issuedAt)
    .setExpirationTime(expires)
    .sign(privateKey)

const [old, next] = await Promise.all([signer('k1'), signer('k2')])

/** An auth for which users publishes `published.keys`; `fetched` and `checked` count how often. */
function setUp() {
  const published = {
    keys: [old.jwk],
    down: false,
    fetched: 0,
    now: 1_000_000,
    session: { roles: ['shopper'] } as { roles: string[] } | AppError,
    checked: 0,
  }
  const auth = createAuth({
    now: () => published.now,
    async checkSession() {
      published.checked++
      if (published.session instanceof AppError) throw published.session
      return published.session
    },
    async getJwks() {
      published.fetched++
      if (published.down) throw unavailable('users_unavailable', 'users is unavailable')
      return { jwksJson: JSON.stringify({ keys: published.keys }) }
    },
  })
  return { published, auth }
}

test('keys are fetched once for many tokens', async () => {
  const { published, auth } = setUp()
  const who = await Promise.all(Array.from({ length: 5 }, () => auth.authenticate(old.header)))
  expect({ who: who[0], fetched: published.fetched }).toEqual({
    who: { id: 'u-1', sessionId: 's-1', roles: ['shopper'] },
    fetched: 1,
  })
})

test('a verified token counts until it expires, and until its key is no longer published', async () => {
  const { published, auth } = setUp()
  published.now = Date.now()
  await auth.authenticate(old.header)
  expect(await auth.authenticate(old.header)).toMatchObject({ id: 'u-1' })

  published.keys = [next.jwk]
  published.now += 301_000
  await auth.authenticate(old.header)
  await new Promise((resolve) => setImmediate(resolve))
  expect(published.fetched).toBe(2)
  await expect(auth.authenticate(old.header)).rejects.toMatchObject({ code: 'bad_token' })
})

test('a token that was verified is refused once it has expired', async () => {
  const { published, auth } = setUp()
  published.now = Date.now()
  const header = `Bearer ${await sign(old, Math.floor(published.now / 1_000) - 4)}`
  // Within the tolerance of 5 s for clocks that differ.
  expect(await auth.authenticate(header)).toMatchObject({ id: 'u-1' })
  const short = `Bearer ${await sign(old, Math.floor(published.now / 1_000) + 1)}`
  expect(await auth.authenticate(short)).toMatchObject({ id: 'u-1' })
  await poll('it has expired', async () => {
    published.now = Date.now()
    return auth.authenticate(short).then(
      () => false,
      ({ code }) => code === 'bad_token',
    )
  })
}, 15_000)

test('a token of a new key causes the keys to be fetched again', async () => {
  const { published, auth } = setUp()
  await auth.authenticate(old.header)
  published.keys = [old.jwk, next.jwk]
  published.now += 6_000
  expect(await auth.authenticate(next.header)).toMatchObject({ id: 'u-1' })
})

test('tokens with invented keys cause no flood of calls', async () => {
  const { published, auth } = setUp()
  await auth.authenticate(old.header)
  published.now += 6_000
  for (let i = 0; i < 10; i++) await expect(auth.authenticate(next.header)).rejects.toMatchObject({ code: 'bad_token' })
  expect(published.fetched).toBe(2)
})

test('known keys stay in use while users is down', async () => {
  const { published, auth } = setUp()
  await auth.authenticate(old.header)
  published.down = true
  published.now += 3_600_000
  expect(await auth.authenticate(old.header)).toMatchObject({ id: 'u-1' })
})

test('without any key the error is unavailable, not a bad token', async () => {
  const { published, auth } = setUp()
  published.down = true
  await expect(auth.authenticate(old.header)).rejects.toMatchObject({ kind: 'unavailable' })
  published.down = false
  expect(await auth.authenticate(old.header)).toMatchObject({ id: 'u-1' })
})

describe('a session', () => {
  const ended = unauthenticated('session_ended', 'the session has ended')
  const refused = { kind: 'unauthenticated', code: 'bad_token' }
  /** An auth that has verified a token at the moment when it was issued. */
  async function known() {
    const { published, auth } = setUp()
    published.now = Date.now()
    const header = `Bearer ${await sign(old, '15m')}`
    const roles = async () => (await auth.authenticate(header)).roles
    expect(await roles()).toEqual(['shopper'])
    const later = (ms: number) => (published.now += ms)
    return { published, roles, later }
  }

  test('of a token that was just issued is not asked about', async () => {
    const { published, roles, later } = await known()
    later(19_000)
    await roles()
    expect(published.checked).toBe(0)
  })

  test('is asked about once every 20 s, while its requests go on', async () => {
    const { published, roles, later } = await known()
    published.session = { roles: ['seller'] }
    later(21_000)
    expect(await Promise.all([roles(), roles(), roles()])).toEqual([['shopper'], ['shopper'], ['shopper']])
    expect(await roles()).toEqual(['seller'])
    expect(published.checked).toBe(1)
  })

  test('that has ended is refused from then on', async () => {
    const { published, roles, later } = await known()
    published.session = ended
    later(21_000)
    await roles()
    await expect(roles()).rejects.toMatchObject(refused)
    later(600_000)
    await expect(roles()).rejects.toMatchObject(refused)
    expect(published.checked).toBe(1)
  })

  test('that nobody has asked about for a minute is asked about first', async () => {
    const { published, roles, later } = await known()
    published.session = ended
    later(61_000)
    await expect(roles()).rejects.toMatchObject(refused)
  })

  test('of an older token is asked about first', async () => {
    const { published, auth } = setUp()
    published.now = Date.now()
    published.session = ended
    const header = `Bearer ${await sign(old, '15m', Math.floor(published.now / 1_000) - 90)}`
    await expect(auth.authenticate(header)).rejects.toMatchObject(refused)
  })

  test('counts while users is down, which is asked again every 5 s', async () => {
    const { published, roles, later } = await known()
    published.session = unavailable('users_unavailable', 'users is unavailable')
    later(61_000)
    expect(await roles()).toEqual(['shopper'])
    later(4_000)
    expect(await roles()).toEqual(['shopper'])
    expect(published.checked).toBe(1)
    published.session = ended
    later(2_000)
    await roles()
    await expect(roles()).rejects.toMatchObject(refused)
  })
})
