import { createHash } from 'node:crypto'
import * as z from 'zod'
import type { Operation, StateStore, Versioned } from '#lib/dapr.ts'
import { exists, notFound } from '#lib/errors.ts'
import { retryOnConflict } from '#lib/retry-on-conflict.ts'
import { roles, slotOf, slotOfUserId, type Account } from './user.ts'

const storedAccount: z.ZodType<Account> = z.object({
  id: z.string(),
  email: z.string(),
  name: z.string(),
  passwordHash: z.string(),
  roles: z.array(z.enum(roles)),
  active: z.boolean(),
  createdAt: z.string(),
  registrationKey: z.string().optional(),
})
const storedEmail = z.object({ userId: z.string() })

// No key contains the address itself: keys show in traces and logs.
const emailKey = (email: string) => `email:{${slotOf(email)}}:${createHash('sha256').update(email).digest('hex')}`
const userKey = (slot: string, id: string) => `user:{${slot}}:${id}`

export type UserStore = ReturnType<typeof createUserStore>

/**
 * Creates the store of accounts, by id and by normalised email. Everything throws `unavailable`
 * while the store is unavailable.
 */
export function createUserStore({ state }: { state: StateStore }) {
  async function find(id: string): Promise<Versioned<Account> | undefined> {
    const slot = slotOfUserId(id)
    return slot === undefined ? undefined : state.get(userKey(slot, id), storedAccount)
  }

  return {
    /** Returns the account with this id, or undefined. */
    find: async (id: string): Promise<Account | undefined> => (await find(id))?.value,

    /** Returns the account with this normalised email, or undefined; either takes two reads. */
    async findByEmail(email: string): Promise<Account | undefined> {
      const owner = await state.get(emailKey(email), storedEmail)
      const slot = slotOf(email)
      return (await state.get(userKey(slot, owner?.value.userId ?? 'none'), storedAccount))?.value
    },

    /** Returns whether an account has this normalised email. */
    emailTaken: async (email: string): Promise<boolean> =>
      (await state.get(emailKey(email), storedEmail)) !== undefined,

    /**
     * Stores a new account, takes its email and publishes users.user-registered.v1, all or none.
     * Throws `exists` email_taken.
     */
    async create(account: Account): Promise<void> {
      await retryOnConflict(async () => {
        if (await state.get(emailKey(account.email), storedEmail))
          throw exists('email_taken', 'an account has this email')
        await state.transact([
          { upsert: emailKey(account.email), value: { userId: account.id }, firstWrite: true },
          { upsert: userKey(slotOf(account.email), account.id), value: account, firstWrite: true },
          { event: { type: 'users.user-registered.v1', key: account.id, data: { userId: account.id } } },
        ])
      })
    },

    /**
     * Stores what `change` returns and publishes `event` with it; if `change` returns the same
     * object, does neither. Returns the account after that. Throws `not_found` user_not_found.
     */
    async update(id: string, change: (account: Account) => Account, event?: string): Promise<Account> {
      return retryOnConflict(async () => {
        const found = await find(id)
        if (!found) throw userNotFound()
        const changed = change(found.value)
        if (changed === found.value) return changed
        const operations: Operation[] = [
          { upsert: userKey(slotOf(changed.email), id), value: changed, etag: found.etag },
        ]
        if (event) operations.push({ event: { type: event, key: id, data: { userId: id } } })
        await state.transact(operations)
        return changed
      })
    },
  }
}

export const userNotFound = () => notFound('user_not_found', 'unknown user')
