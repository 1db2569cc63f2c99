import { exportJWK, generateKeyPair, SignJWT } from 'jose'
import { expect, test } from 'vitest'
import { unavailable } from '#lib/errors.ts'
import { poll } from '../../platform/poll.ts'
import { createAuth } from './auth.ts'

async function signer(kid: string) {
  const { publicKey, privateKey } = await generateKeyPair('ES256')
  const jwk = { ...(await exportJWK(publicKey)), kid, alg: 'ES256' }
  return { jwk, privateKey, header: `Bearer ${await sign({ jwk, privateKey }, '1h')}` }
}

type Signer = { jwk: { kid: string }; privateKey: Awaited<ReturnType<typeof generateKeyPair>>['privateKey'] }

const sign = ({ jwk, privateKey }: Signer, expires: string | number) =>
  new SignJWT({ roles: ['shopper'], sid: 's-1' })
    .setProtectedHeader({ alg: 'ES256', kid: jwk.kid, typ: 'at+jwt' })
    .setSubject('u-1')
    .setIssuer('sidecart')
    .setAudience('sidecart')
    .setExpirationTime(expires)
    .sign(privateKey)

const [old, next] = await Promise.all([signer('k1'), signer('k2')])

/** An auth for which users publishes `published.keys`; `fetched` counts how often. */
function setUp() {
  const published = { keys: [old.jwk], down: false, fetched: 0, now: 1_000_000 }
  const auth = createAuth({
    now: () => published.now,
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
