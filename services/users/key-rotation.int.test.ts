import { randomBytes } from 'node:crypto'
import { createLocalJWKSet, jwtVerify } from 'jose'
import { pino } from 'pino'
import { ulid } from 'ulid'
import { afterAll, expect, test } from 'vitest'
import { startService } from '../../platform/testing/service.ts'
import { createSessions } from './session-store.ts'
import { createSigningKeys } from './signing-key-store.ts'
import { userIdOf, type Account } from './user.ts'

const service = await startService('users')
afterAll(() => service.close())

function newAccount(): Account {
  const email = `ada.${ulid()}@example.com`
  return {
    id: userIdOf(email, ulid()),
    email,
    name: 'Ada',
    passwordHash: '',
    roles: ['shopper'],
    active: true,
    createdAt: new Date().toISOString(),
  }
}

const periodMs = 4_000
const rotations = 4
/** A set includes the next key, so one that is younger than a period has every key in use. */
const cachedMs = 0.9 * periodMs

test('signing keys rotate under load, and a verifier that caches them accepts every token', async () => {
  const state = service.dapr.state('users-store')
  const encryptionKey = randomBytes(32)
  const now = () => new Date()
  const replica = () => {
    const keys = createSigningKeys({ state, encryptionKey, now, periodMs })
    const findAccount = async () => undefined
    return {
      keys,
      sessions: createSessions({ state, keys, findAccount, now, newId: ulid, log: pino({ enabled: false }) }),
    }
  }
  const replicas = [replica(), replica()]
  /** Never asks for a key that it does not know. */
  const verifier = ({ keys }: (typeof replicas)[number]) => {
    let [known, fetchedAt]: [ReturnType<typeof createLocalJWKSet> | undefined, number] = [undefined, 0]
    return async (token: string) => {
      if (!known || Date.now() - fetchedAt > cachedMs)
        [known, fetchedAt] = [createLocalJWKSet(await keys.jwks()), Date.now()]
      return (await jwtVerify(token, known)).protectedHeader.kid!
    }
  }
  const verifiers = replicas.map(verifier)

  const kids = new Set<string>()
  const failures: unknown[] = []
  let verified = 0
  const ends = Date.now() + (rotations + 0.5) * periodMs
  const caller = async (index: number) => {
    const account = newAccount()
    while (Date.now() < ends) {
      const { accessToken } = await replicas[(index + verified) % 2]!.sessions.start(account)
      for (const verify of verifiers) {
        const kid = await verify(accessToken).catch((error: unknown) => void failures.push(error))
        if (kid === undefined) continue
        kids.add(kid)
        verified += 1
      }
    }
  }
  await Promise.all([0, 1, 2, 3].map(caller))
  expect(failures).toEqual([])
  expect(kids.size).toBeGreaterThanOrEqual(rotations)
  expect(verified).toBeGreaterThan(100)
}, 60_000)
