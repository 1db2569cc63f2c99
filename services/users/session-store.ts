import { createHash, randomBytes } from 'node:crypto'
import { SignJWT } from 'jose'
import * as z from 'zod'
import type { StateStore } from '#lib/dapr.ts'
import { AppError, unauthenticated } from '#lib/errors.ts'
import { signingAlgorithm, type SigningKeys } from './signing-key-store.ts'
import { slotOfUserId, type Account } from './user.ts'

const accessTokenSeconds = 15 * 60
const refreshTokenSeconds = 30 * 24 * 60 * 60

export type Tokens = { accessToken: string; refreshToken: string; expiresInSeconds: number }
export type Sessions = ReturnType<typeof createSessions>

// Expiry is checked here: how soon the store's TTL removes a session is up to the database.
const storedSession = z.object({ userId: z.string(), expiresAt: z.string() })

// The slot in front says where the token is stored. Only its hash is stored.
const refreshToken = /^([0-3][0-9a-f]{2})\.[A-Za-z0-9_-]{43}$/
const refreshKey = (slot: string, token: string) =>
  `refresh:{${slot}}:${createHash('sha256').update(token).digest('hex')}`

/**
 * Creates sessions: a short-lived access token that anyone can verify, and a refresh token that is
 * good for one exchange. Everything throws `unavailable` while the store is unavailable.
 */
export function createSessions(deps: {
  state: StateStore
  keys: Pick<SigningKeys, 'current'>
  findAccount: (id: string) => Promise<Account | undefined>
  now: () => Date
  newId: () => string
}) {
  const { state, keys, findAccount, now, newId } = deps

  /** Returns a JWT as in RFC 9068. */
  async function accessToken(account: Account): Promise<string> {
    const { kid, privateKey } = await keys.current()
    const seconds = Math.floor(now().getTime() / 1000)
    return new SignJWT({ roles: account.roles, client_id: 'sidecart' })
      .setProtectedHeader({ alg: signingAlgorithm, kid, typ: 'at+jwt' })
      .setIssuer('sidecart')
      .setAudience('sidecart')
      .setSubject(account.id)
      .setIssuedAt(seconds)
      .setExpirationTime(seconds + accessTokenSeconds)
      .setJti(newId())
      .sign(privateKey)
  }

  /** Returns a new refresh token, with the key and value to store. */
  function newRefreshToken(account: Account) {
    const slot = slotOfUserId(account.id)
    if (slot === undefined) throw new Error(`not a user id: ${account.id}`)
    const token = `${slot}.${randomBytes(32).toString('base64url')}`
    const value: z.infer<typeof storedSession> = {
      userId: account.id,
      expiresAt: new Date(now().getTime() + refreshTokenSeconds * 1000).toISOString(),
    }
    return { token, key: refreshKey(slot, token), value }
  }

  const unusable = () => unauthenticated('bad_refresh_token', 'unknown, expired or used refresh token: log in again')

  return {
    /** Starts a session for an account whose password was checked. */
    async start(account: Account): Promise<Tokens> {
      const fresh = newRefreshToken(account)
      const access = await accessToken(account)
      await state.set(fresh.key, fresh.value, { firstWrite: true, ttlSeconds: refreshTokenSeconds })
      return { accessToken: access, refreshToken: fresh.token, expiresInSeconds: accessTokenSeconds }
    },

    /**
     * Exchanges a refresh token for new tokens with the account's current roles. Of two calls with
     * the same token at once, one wins. Throws `unauthenticated` bad_refresh_token.
     */
    async refresh(token: string): Promise<Tokens> {
      const slot = refreshToken.exec(token)?.[1]
      if (slot === undefined) throw unusable()
      const key = refreshKey(slot, token)
      const stored = await state.get(key, storedSession)
      if (!stored || Date.parse(stored.value.expiresAt) <= now().getTime()) throw unusable()
      const account = await findAccount(stored.value.userId)
      if (!account?.active) throw unusable()
      const fresh = newRefreshToken(account)
      const access = await accessToken(account)
      try {
        await state.transact([
          { delete: key, etag: stored.etag },
          { upsert: fresh.key, value: fresh.value, firstWrite: true, ttlSeconds: refreshTokenSeconds },
        ])
      } catch (error) {
        if (error instanceof AppError && error.kind === 'conflict') throw unusable()
        throw error
      }
      return { accessToken: access, refreshToken: fresh.token, expiresInSeconds: accessTokenSeconds }
    },
  }
}
