import { createHash, createHmac, hkdfSync, randomBytes, timingSafeEqual } from 'node:crypto'
import * as z from 'zod'
import { createBatches } from '#lib/batches.ts'
import type { StateStore } from '#lib/dapr.ts'
import { AppError, rejected } from '#lib/errors.ts'
import { slotOf, type Account } from './user.ts'

/** How long a token is good, and how long a request counts. */
const validSeconds = 60 * 60
/** Mails to one address in that time. */
const maxRequests = 3

export const resetTopic = 'password-resets'
export const resetRequested = 'users.password-reset-requested.v1'

/** RFC 3339. Expiry is checked here: how soon the store's TTL acts is up to the database. */
const storedRequest = z.object({ email: z.string(), expiresAt: z.string() })
/** When resets were requested for one address, in epoch ms. */
const storedTimes = z.object({ times: z.array(z.number()) })

// The slot and the request's id in front say where it is stored.
const requestId = /^([0-3][0-9a-f]{2})\.([\w-]{22})$/
const resetToken = /^([0-3][0-9a-f]{2}\.[\w-]{22})\.([\w-]{43})$/
const requestKey = (slot: string, id: string) => `password-reset:{${slot}}:${id}`
// No key contains the address itself: keys show in traces and logs.
const timesKey = (email: string) =>
  `password-resets:{${slotOf(email)}}:${createHash('sha256').update(email).digest('base64url')}`

export type PasswordResets = ReturnType<typeof createPasswordResets>

/**
 * Creates the requests for a new password. A request stores an address, whether or not there is an
 * account, and publishes its id, which is no secret. Its token is made when the mail is sent, from
 * the id and the account's present password, by a key derived from `encryptionKey`: so no store and
 * no event has a token, a repeated mail has the same one, and each change of the password ends all
 * tokens of the account. Everything throws `unavailable` while the store is unavailable.
 */
export function createPasswordResets(deps: {
  state: StateStore
  findByEmail: (email: string) => Promise<Account | undefined>
  encryptionKey: Uint8Array
  now: () => Date
}) {
  const { state, findByEmail, encryptionKey, now } = deps
  const { commit } = createBatches(state)
  const key = Buffer.from(hkdfSync('sha256', encryptionKey, '', 'password-reset', 32))

  const tokenOf = (id: string, { id: userId, passwordHash }: Account) =>
    `${id}.${createHmac('sha256', key).update(`${id}\n${userId}\n${passwordHash}`).digest('base64url')}`

  /** Returns whose password a request may reset. Undefined: it has expired, or has no account. */
  async function accountOf(id: string): Promise<Account | undefined> {
    const [, slot, unique] = requestId.exec(id) ?? []
    if (slot === undefined || unique === undefined) return undefined
    const request = (await state.get(requestKey(slot, unique), storedRequest))?.value
    if (request === undefined || Date.parse(request.expiresAt) <= now().getTime()) return undefined
    const account = await findByEmail(request.email)
    return account?.active ? account : undefined
  }

  return {
    /**
     * Asks for a mail to a normalised address. Throws `exhausted` too_many_resets after some in an
     * hour.
     */
    async request(email: string): Promise<void> {
      const [slot, unique, at] = [slotOf(email), randomBytes(16).toString('base64url'), now().getTime()]
      await commit({
        keys: [timesKey(email)],
        decide(draft) {
          const times = (draft.get(timesKey(email), storedTimes)?.times ?? []).filter(
            (time) => time > at - validSeconds * 1_000,
          )
          if (times.length >= maxRequests)
            throw new AppError('exhausted', 'too_many_resets', 'too many mails to this address', {
              retryAfterSeconds: Math.ceil((times[0]! - at) / 1_000) + validSeconds,
            })
          draft.put(timesKey(email), { times: [...times, at] }, { ttlSeconds: validSeconds })
          const expiresAt = new Date(at + validSeconds * 1_000).toISOString()
          draft.put(requestKey(slot, unique), { email, expiresAt }, { ttlSeconds: validSeconds })
          const id = `${slot}.${unique}`
          draft.publish({ type: resetRequested, topic: resetTopic, key: id, data: { requestId: id } })
        },
      })
    },

    /** Returns what to send for a request; undefined if nobody is to get a mail. */
    async mailOf(id: string): Promise<{ to: string; token: string } | undefined> {
      const account = await accountOf(id)
      return account && { to: account.email, token: tokenOf(id, account) }
    },

    /**
     * Returns the account that a token is for. Throws `rejected` bad_reset_token: unknown, used or
     * expired.
     */
    async redeem(token: string): Promise<Account> {
      const [, id] = resetToken.exec(token) ?? []
      const account = id === undefined ? undefined : await accountOf(id)
      if (id === undefined || account === undefined) throw badResetToken()
      if (!timingSafeEqual(Buffer.from(tokenOf(id, account)), Buffer.from(token))) throw badResetToken()
      return account
    },
  }
}

export const badResetToken = () =>
  rejected('bad_reset_token', 'the token is unknown, used or expired: ask for another mail', [
    { field: 'token', message: 'is unknown, used or expired' },
  ])
