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

const badToken = (message: string) => unauthenticated('bad_token', message)

type AuthDeps = { getJwks: (call?: CallOptions) => Promise<{ jwksJson: string }>; now?: () => number }

/**
 * Verifies access tokens with the public keys that users publishes. It fetches the keys once, again
 * when a token names an unknown key (at most every five seconds), and again when they are five
 * minutes old. While users is down, the old keys stay in use. A token is verified once for the keys
 * at hand: later it counts until it expires, or until the keys have been fetched again.
 */
export function createAuth({ getJwks, now = Date.now }: AuthDeps) {
  let keys: ReturnType<typeof createLocalJWKSet> | undefined
  let fetchedAt = -Infinity
  let triedAt = -Infinity
  let fetching: Promise<void> | undefined
  const verified = new Map<string, { user: User; expiresAt: number }>()

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
        requiredClaims: ['sub', 'exp'],
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
  function keep(token: string, user: User, expiresAt: number): User {
    if (verified.size >= maxVerified) verified.delete(verified.keys().next().value!)
    verified.set(token, { user, expiresAt })
    return user
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
      if (known && now() < known.expiresAt) return known.user
      try {
        const { payload } = await verify(token, call)
        const { sub, sid, roles, exp } = claims.parse(payload)
        return keep(token, { id: sub, sessionId: sid, roles }, exp * 1_000)
      } catch (error) {
        if (error instanceof errors.JWTExpired) throw badToken('The access token has expired')
        if (error instanceof errors.JOSEError || error instanceof z.ZodError || error instanceof TypeError)
          throw badToken('The access token is invalid')
        throw error
      }
    },
  }
}
