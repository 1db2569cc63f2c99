import { createHash } from 'node:crypto'
import * as z from 'zod'
import { createBatches } from '#lib/batches.ts'
import type { StateStore } from '#lib/dapr.ts'
import { AppError } from '#lib/errors.ts'
import { slotOf } from './user.ts'

/**
 * From which wrong password on each next one is answered only after a pause, which doubles each
 * time up to a longest one.
 */
type Rule = { free: number; longestMs: number }

/**
 * One client is slowed down soon. All clients together later, or else anyone could keep an
 * account's owner waiting by a few guesses. At one a minute, an account gets some 1,440 a day.
 */
export const rules = {
  client: { free: 5, longestMs: 60_000 },
  account: { free: 50, longestMs: 60_000 },
} satisfies Record<string, Rule>

/** Wrong passwords are forgotten when none has come for this long. */
const keptSeconds = 60 * 60
/** Of one account; the one that guessed longest ago is forgotten first. */
const maxClients = 20

const count = z.object({ failures: z.int(), until: z.number() })
const guessesSchema = z.object({ account: count, clients: z.record(z.string(), count) })
type Guesses = z.infer<typeof guessesSchema>

const none = { failures: 0, until: 0 }

/** Returns the pause after so many wrong passwords. */
export const pauseMs = (failures: number, { free, longestMs }: Rule): number =>
  failures < free ? 0 : Math.min(longestMs, 1_000 * 2 ** Math.min(failures - free, 30))

/** Returns what is stored after one more wrong password. */
export function afterWrong(before: Guesses | undefined, client: string, now: number): Guesses {
  const more = ({ failures }: z.infer<typeof count>, rule: Rule) => ({
    failures: failures + 1,
    until: now + pauseMs(failures + 1, rule),
  })
  const { [client]: own = none, ...others } = before?.clients ?? {}
  const clients = Object.entries(others).slice(-maxClients + 1)
  return {
    account: more(before?.account ?? none, rules.account),
    clients: Object.fromEntries([...clients, [client, more(own, rules.client)]]),
  }
}

/** Returns for how many milliseconds no password of this client is looked at. */
export const waitMs = (guesses: Guesses | undefined, client: string, now: number): number =>
  Math.max(0, (guesses?.account.until ?? 0) - now, (guesses?.clients[client]?.until ?? 0) - now)

const hash = (text: string) => createHash('sha256').update(text).digest('base64url')

export type GuessLimits = ReturnType<typeof createGuessLimits>

/**
 * Creates the limits on guessing the passwords of one account, for accounts that do not exist too.
 * What is stored of an email address and a client is its hash. Everything throws `unavailable`
 * while the store is unavailable.
 */
export function createGuessLimits({ state, now }: { state: StateStore; now: () => Date }) {
  const { commit } = createBatches(state)
  const keyOf = (email: string) => `guesses:{${slotOf(email)}}:${hash(email)}`

  /** Returns the failures so far. Throws `exhausted` while this client has to wait. */
  async function requireTurn(email: string, client: string): Promise<number> {
    const stored = (await state.get(keyOf(email), guessesSchema))?.value
    const wait = waitMs(stored, hash(client), now().getTime())
    if (wait > 0)
      throw new AppError('exhausted', 'too_many_guesses', 'too many wrong passwords for this account', {
        retryAfterSeconds: Math.ceil(wait / 1_000),
      })
    return stored?.account.failures ?? 0
  }

  const countWrong = (email: string, client: string): Promise<void> =>
    commit({
      keys: [keyOf(email)],
      decide(draft) {
        const guesses = afterWrong(draft.get(keyOf(email), guessesSchema), hash(client), now().getTime())
        draft.put(keyOf(email), guesses, { ttlSeconds: keptSeconds })
      },
    })

  const forget = (email: string): Promise<void> =>
    commit({ keys: [keyOf(email)], decide: (draft) => draft.delete(keyOf(email)) })

  return {
    /**
     * Returns whether a password is right, and counts it if it is wrong; the right one ends the
     * counting. Throws `exhausted` too_many_guesses, without looking at it, while this client has
     * to wait.
     */
    async attempt(email: string, client: string, isRight: () => Promise<boolean>): Promise<boolean> {
      const failures = await requireTurn(email, client)
      const right = await isRight()
      if (!right) await countWrong(email, client)
      else if (failures > 0) await forget(email)
      return right
    },
  }
}
