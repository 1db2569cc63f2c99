import { createLocalJWKSet, errors, jwtVerify, type JSONWebKeySet } from 'jose'
import * as z from 'zod'
import { AppError, unauthenticated, unavailable } from '#lib/errors.ts'
import type { CallOptions } from '#lib/dapr.ts'
import type { User } from './http/operation.ts'

export type Auth = ReturnType<typeof createAuth>

const claims = z.object({ sub: z.string().min(1), roles: z.array(z.string()) })
const jwks = z.object({ keys: z.array(z.looseObject({ kty: z.string() })).min(1) })

// A key that users no longer publishes must stop working here too.
const maxAgeMs = 5 * 60_000
// Anyone can send tokens with invented key ids; they must not cause a flood of calls to users.
const cooldownMs = 5_000

const badToken = (message: string) => unauthenticated('bad_token', message)

type AuthDeps = { getJwks: (call?: CallOptions) => Promise<{ jwksJson: string }>; now?: () => number }

/**
 * Verifies access tokens with the public keys that users publishes. It fetches the keys once, again
 * when a token names an unknown key (at most every five seconds), and again when they are five
 * minutes old. While users is down, the old keys stay in use.
 */
export function createAuth({ getJwks, now = Date.now }: AuthDeps) {
  let keys: ReturnType<typeof createLocalJWKSet> | undefined
  let fetchedAt = -Infinity
  let triedAt = -Infinity
  let fetching: Promise<void> | undefined

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
    } catch (error) {
      throw error instanceof AppError ? error : unavailable('users_unavailable', 'users returned no keys', error)
    }
  }

  async function verify(token: string, call?: CallOptions) {
    if (!keys) await refresh(call)
    else if (now() - fetchedAt > maxAgeMs && now() - triedAt > cooldownMs) void refresh().catch(() => {})
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
      try {
        const { payload } = await verify(token, call)
        const { sub, roles } = claims.parse(payload)
        return { id: sub, roles }
      } catch (error) {
        if (error instanceof errors.JWTExpired) throw badToken('The access token has expired')
        if (error instanceof errors.JOSEError || error instanceof z.ZodError || error instanceof TypeError)
          throw badToken('The access token is invalid')
        throw error
      }
    },
  }
}
