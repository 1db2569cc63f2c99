import { createLocalJWKSet, errors, jwtVerify, type JSONWebKeySet } from 'jose'
import * as z from 'zod'
import { AppError, unauthenticated, unavailable } from '#lib/errors.ts'
import type { CallOptions } from '#lib/dapr.ts'
import type { User } from './http/operation.ts'

export type Auth = ReturnType<typeof createAuth>

const claims = z.object({
  sub: z.string().min(1),
  sid: z.string().min(1),
  exp: z.number(),
  iat: z.number(),
  roles: z.array(z.string()),
})
const jwks = z.object({ keys: z.array(z.looseObject({ kty: z.string() })).min(1) })

// A key that users no longer publishes must stop working here too.
const maxAgeMs = 5 * 60_000
// Anyone can send tokens with invented key ids; they must not cause a flood of calls to users.
const cooldownMs = 5_000

/**
 * How many verified tokens are kept. To verify one costs 0.1 ms of CPU, a third of what the gateway
 * spends on a request that places an order.
 */
const maxVerified = 10_000

/**
 * How old what is known of a session may be. From `recheckMs` on it is asked about again, from
 * `maxCheckedMs` on a request waits for the answer: so the end of a session, of an account or of a
 * role acts within a minute, though a token lives for a quarter of an hour.
 */
const recheckMs = 20_000
const maxCheckedMs = 60_000
/** While users is down, tokens count by their signatures. */
const retryCheckMs = 5_000
/** So that there is time left for what the request is about. */
const checkTimeoutMs = 500

const badToken = (message: string) => unauthenticated('bad_token', message)

type AuthDeps = {
  getJwks: (call?: CallOptions) => Promise<{ jwksJson: string }>
  /** Returns the roles of a session's account. Throws `unauthenticated` when it has ended. */
  checkSession: (session: { userId: string; sessionId: string }, call?: CallOptions) => Promise<{ roles: string[] }>
  now?: () => number
}

/** A token that was verified. `user` is undefined once its session has ended. */
type Verified = { user: User | undefined; expiresAt: number; checkedAt: number; checking?: Promise<void> | undefined }

/**
 * Verifies access tokens with the public keys that users publishes. It fetches the keys once, again
 * when a token names an unknown key (at most every five seconds), and again when they are five
 * minutes old. While users is down, the old keys stay in use. A token is verified once for the keys
 * at hand: later it counts until it expires, or until the keys have been fetched again. Meanwhile
 * users is asked whether its session goes on, and with which roles.
 */
export function createAuth({ getJwks, checkSession, now = Date.now }: AuthDeps) {
  let keys: ReturnType<typeof createLocalJWKSet> | undefined
  let fetchedAt = -Infinity
  let triedAt = -Infinity
  let fetching: Promise<void> | undefined
  const verified = new Map<string, Verified>()

  function refresh(call?: CallOptions): Promise<void> {
    triedAt = now()
    fetching ??= fetchKeys(call).finally(() => (fetching = undefined))
    return fetching
  }

  async function fetchKeys(call?: CallOptions): Promise<void> {
    try {
      const { jwksJson } = await getJwks(call)
      keys = createLocalJWKSet(jwks.parse(JSON.parse(jwksJson)) as JSONWebKeySet)
      fetchedAt = now()
      verified.clear()
    } catch (error) {
      throw error instanceof AppError ? error : unavailable('users_unavailable', 'users returned no keys', error)
    }
  }

  async function verify(token: string, call?: CallOptions) {
    if (!keys) await refresh(call)
    const check = () =>
      jwtVerify(token, keys!, {
        algorithms: ['ES256'],
        typ: 'at+jwt',
        issuer: 'sidecart',
        audience: 'sidecart',
        requiredClaims: ['sub', 'exp', 'iat'],
        clockTolerance: 5,
      })
    try {
      return await check()
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey) || now() - triedAt < cooldownMs) throw error
      await refresh(call)
      return await check()
    }
  }

  /** Keeps a verified token, in place of the one that has been kept for longest. */
  function keep(token: string, entry: Verified): Verified {
    if (verified.size >= maxVerified) verified.delete(verified.keys().next().value!)
    verified.set(token, entry)
    return entry
  }

  /** Asks users about a token's session. Never throws. */
  function check(entry: Verified, { id: userId, sessionId }: User, call?: CallOptions): Promise<void> {
    const timeoutMs = Math.min(checkTimeoutMs, call?.timeoutMs ?? Infinity)
    entry.checking ??= checkSession({ userId, sessionId }, { timeoutMs })
      .then(
        ({ roles }) => {
          entry.user = { id: userId, sessionId, roles }
          entry.checkedAt = now()
        },
        (error: unknown) => {
          if (error instanceof AppError && error.kind === 'unauthenticated') entry.user = undefined
          else entry.checkedAt = now() - recheckMs + retryCheckMs
        },
      )
      .finally(() => (entry.checking = undefined))
    return entry.checking
  }

  async function userOf(entry: Verified, call?: CallOptions): Promise<User> {
    const { user } = entry
    const age = now() - entry.checkedAt
    if (user && age > recheckMs) {
      const checked = check(entry, user, age > maxCheckedMs ? call : undefined)
      if (age > maxCheckedMs) await checked
    }
    if (!entry.user) throw badToken('The session has ended')
    return entry.user
  }

  return {
    /**
     * Returns the user of an Authorization header. Throws `unauthenticated` without a header,
     * `bad_token` for an invalid one, and `users_unavailable` when there are no keys to verify it.
     */
    async authenticate(header: string | undefined, call?: CallOptions): Promise<User> {
      if (header === undefined)
        throw unauthenticated('unauthenticated', 'Authorization: Bearer <accessToken> is required')
      const token = /^Bearer +([\w-]+\.[\w-]+\.[\w-]+)$/i.exec(header)?.[1]
      if (token === undefined) throw badToken('The Authorization header must be "Bearer" and a JWT')
      if (keys && now() - fetchedAt > maxAgeMs && now() - triedAt > cooldownMs) void refresh().catch(() => {})
      const known = verified.get(token)
      if (known && now() < known.expiresAt) return userOf(known, call)
      try {
        const { payload } = await verify(token, call)
        const { sub, sid, roles, exp, iat } = claims.parse(payload)
        const user = { id: sub, sessionId: sid, roles }
        return await userOf(keep(token, { user, expiresAt: exp * 1_000, checkedAt: iat * 1_000 }), call)
      } catch (error) {
        if (error instanceof errors.JWTExpired) throw badToken('The access token has expired')
        if (error instanceof errors.JOSEError || error instanceof z.ZodError || error instanceof TypeError)
          throw badToken('The access token is invalid')
        throw error
      }
    },
  }
}
