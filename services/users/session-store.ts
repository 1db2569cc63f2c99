import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import { SignJWT } from 'jose'
import * as z from 'zod'
import { createBatches, type Draft } from '#lib/batches.ts'
import type { StateStore } from '#lib/dapr.ts'
import { notFound, unauthenticated } from '#lib/errors.ts'
import type { Logger } from '#lib/logger.ts'
import { signingAlgorithm, type SigningKeys } from './signing-key-store.ts'
import { slotOfUserId, type Account } from './user.ts'

const accessTokenSeconds = 15 * 60
const refreshTokenSeconds = 30 * 24 * 60 * 60
/** How long a used token is exchanged once more: an answer may be lost, or two tabs ask at once. */
const graceMs = 10_000
/** Of one account. The oldest one ends when another begins. */
const maxSessions = 50
/** Tokens of a session that are good at once: those handed out within the grace. */
const maxSiblings = 20

export type Tokens = { accessToken: string; refreshToken: string; expiresInSeconds: number }
export type Session = { id: string; createdAt: string; lastUsedAt: string }
export type Sessions = ReturnType<typeof createSessions>

/** A session is a family of tokens (RFC 9700, section 4.14.2), of which only hashes are stored. */
const storedSession = z.object({
  userId: z.string(),
  /** Hashes of the tokens that can be exchanged. */
  current: z.array(z.string()),
  /** Hashes of those that were good before, until `lastUsedAt`. */
  used: z.array(z.string()),
  createdAt: z.string(),
  lastUsedAt: z.string(),
  // Expiry is checked here: how soon the store's TTL removes a session is up to the database.
  expiresAt: z.string(),
})
type StoredSession = z.infer<typeof storedSession>
/** The sessions of an account, oldest first. */
const storedIds = z.object({ ids: z.array(z.string()) })

// The slot and the session's id in front say where it is stored.
const refreshToken = /^([0-3][0-9a-f]{2})\.([\w-]{22})\.([\w-]{43})$/
const sessionKey = (slot: string, id: string) => `session:{${slot}}:${id}`
const idsKey = (slot: string, userId: string) => `sessions:{${slot}}:${userId}`
const hashOf = (secret: string) => createHash('sha256').update(secret).digest('base64url')
const includes = (hashes: string[], hash: string) =>
  hashes.some((each) => each.length === hash.length && timingSafeEqual(Buffer.from(each), Buffer.from(hash)))

/**
 * Decides about a token of a session. `stolen`: it was used before, longer ago than an answer can
 * have been lost, or it never was a token of this session.
 */
export function exchange(session: StoredSession, hash: string, fresh: string, now: Date): StoredSession | 'stolen' {
  const renewed = { ...session, expiresAt: new Date(now.getTime() + refreshTokenSeconds * 1_000).toISOString() }
  if (includes(session.current, hash))
    return { ...renewed, current: [fresh], used: session.current, lastUsedAt: now.toISOString() }
  const inGrace = now.getTime() - Date.parse(session.lastUsedAt) <= graceMs
  if (!inGrace || !includes(session.used, hash) || session.current.length >= maxSiblings) return 'stolen'
  return { ...renewed, current: [...session.current, fresh] }
}

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
  log: Logger
}) {
  const { state, keys, findAccount, now, newId, log } = deps
  const { commit } = createBatches(state)

  /** Returns a JWT as in RFC 9068. */
  async function accessToken(account: Account, sessionId: string): Promise<string> {
    const { kid, privateKey } = await keys.current()
    const seconds = Math.floor(now().getTime() / 1000)
    return new SignJWT({ roles: account.roles, client_id: 'sidecart', sid: sessionId })
      .setProtectedHeader({ alg: signingAlgorithm, kid, typ: 'at+jwt' })
      .setIssuer('sidecart')
      .setAudience('sidecart')
      .setSubject(account.id)
      .setIssuedAt(seconds)
      .setExpirationTime(seconds + accessTokenSeconds)
      .setJti(newId())
      .sign(privateKey)
  }

  const slotOf = (userId: string): string => {
    const slot = slotOfUserId(userId)
    if (slot === undefined) throw notFound('user_not_found', 'unknown user')
    return slot
  }
  const newSecret = () => randomBytes(32).toString('base64url')
  const unusable = () => unauthenticated('bad_refresh_token', 'unknown, expired or used refresh token: log in again')
  const ttl = { ttlSeconds: refreshTokenSeconds }

  const idsIn = (draft: Draft, key: string) => draft.get(key, storedIds)?.ids ?? []
  function end(draft: Draft, slot: string, userId: string, ended: string[]): void {
    const rest = idsIn(draft, idsKey(slot, userId)).filter((id) => !ended.includes(id))
    if (rest.length > 0) draft.put(idsKey(slot, userId), { ids: rest }, ttl)
    else draft.delete(idsKey(slot, userId))
    for (const id of ended) draft.delete(sessionKey(slot, id))
  }

  async function idsOf(userId: string): Promise<string[]> {
    return (await state.get(idsKey(slotOf(userId), userId), storedIds))?.value.ids ?? []
  }

  return {
    /** Starts a session for an account whose password was checked. */
    async start(account: Account): Promise<Tokens> {
      const [slot, id, secret] = [slotOf(account.id), randomBytes(16).toString('base64url'), newSecret()]
      const access = await accessToken(account, id)
      const at = now()
      const session: StoredSession = {
        userId: account.id,
        current: [hashOf(secret)],
        used: [],
        createdAt: at.toISOString(),
        lastUsedAt: at.toISOString(),
        expiresAt: new Date(at.getTime() + refreshTokenSeconds * 1_000).toISOString(),
      }
      const key = idsKey(slot, account.id)
      await commit({
        keys: [key],
        decide(draft) {
          const ids = [...idsIn(draft, key), id]
          for (const oldest of ids.slice(0, -maxSessions)) draft.delete(sessionKey(slot, oldest))
          draft.put(key, { ids: ids.slice(-maxSessions) }, ttl)
          draft.put(sessionKey(slot, id), session, ttl)
        },
      })
      return { accessToken: access, refreshToken: `${slot}.${id}.${secret}`, expiresInSeconds: accessTokenSeconds }
    },

    /**
     * Exchanges a refresh token for new tokens with the account's current roles. A used token ends
     * its session, once the grace is over. Throws `unauthenticated` bad_refresh_token.
     */
    async refresh(token: string): Promise<Tokens> {
      const [, slot, id, secret] = refreshToken.exec(token) ?? []
      if (slot === undefined || id === undefined || secret === undefined) throw unusable()
      const key = sessionKey(slot, id)
      const found = (await state.get(key, storedSession))?.value
      if (!found || Date.parse(found.expiresAt) <= now().getTime()) throw unusable()
      const account = await findAccount(found.userId)
      if (!account?.active) throw unusable()
      const access = await accessToken(account, id)
      const fresh = newSecret()
      const outcome = await commit({
        keys: [key, idsKey(slot, account.id)],
        decide(draft) {
          const session = draft.get(key, storedSession)
          if (!session) return 'ended'
          const next = exchange(session, hashOf(secret), hashOf(fresh), now())
          if (next === 'stolen') end(draft, slot, account.id, [id])
          else draft.put(key, next, ttl)
          return next === 'stolen' ? next : 'exchanged'
        },
      })
      if (outcome === 'stolen')
        log.warn({ userId: account.id, sessionId: id }, 'session ended: a refresh token was used again')
      if (outcome !== 'exchanged') throw unusable()
      return { accessToken: access, refreshToken: `${slot}.${id}.${fresh}`, expiresInSeconds: accessTokenSeconds }
    },

    /** Returns an account's sessions, newest first. */
    async list(userId: string): Promise<Session[]> {
      const slot = slotOf(userId)
      const keys = (await idsOf(userId)).map((id) => ({ id, key: sessionKey(slot, id) }))
      const found = await state.bulkGet(
        keys.map(({ key }) => key),
        storedSession,
      )
      return keys.toReversed().flatMap(({ id, key }) => {
        const session = found.get(key)?.value
        if (!session || Date.parse(session.expiresAt) <= now().getTime()) return []
        return [{ id, createdAt: session.createdAt, lastUsedAt: session.lastUsedAt }]
      })
    },

    /** Returns the account of a session that goes on. Throws `unauthenticated` session_ended. */
    async check(userId: string, sessionId: string): Promise<Account> {
      const [session, account] = await Promise.all([
        state.get(sessionKey(slotOf(userId), sessionId), storedSession),
        findAccount(userId),
      ])
      const goesOn = session?.value.userId === userId && Date.parse(session.value.expiresAt) > now().getTime()
      if (!goesOn || !account?.active) throw unauthenticated('session_ended', 'the session has ended')
      return account
    },

    /** Ends one session of an account. Throws `not_found` session_not_found. */
    async end(userId: string, sessionId: string): Promise<void> {
      const slot = slotOf(userId)
      await commit({
        keys: [idsKey(slot, userId)],
        decide(draft) {
          if (!idsIn(draft, idsKey(slot, userId)).includes(sessionId))
            throw notFound('session_not_found', 'unknown session')
          end(draft, slot, userId, [sessionId])
        },
      })
    },

    /** Ends all sessions of an account but `except`. */
    async endAll(userId: string, except = ''): Promise<void> {
      const slot = slotOf(userId)
      const key = idsKey(slot, userId)
      await commit({
        keys: [key],
        decide: (draft) =>
          end(
            draft,
            slot,
            userId,
            idsIn(draft, key).filter((id) => id !== except),
          ),
      })
    },
  }
}
