import { setTimeout as sleep } from 'node:timers/promises'

type PollOptions = { timeoutMs?: number; intervalMs?: number; isFatal?: (error: unknown) => boolean }

/**
 * Retries until `attempt` returns something other than undefined or false, and returns that.
 * @throws Error with `what` and the last failure after `timeoutMs`; a failure for which `isFatal`
 * returns true is thrown at once and unchanged
 */
export async function poll<T>(
  what: string,
  attempt: () => Promise<T | undefined | false> | T | undefined | false,
  { timeoutMs = 60_000, intervalMs = 100, isFatal }: PollOptions = {},
): Promise<T> {
  const deadline = Date.now() + timeoutMs
  let last: unknown
  for (;;) {
    try {
      const value = await attempt()
      if (value !== undefined && value !== false) return value
      last = undefined
    } catch (error) {
      if (isFatal?.(error)) throw error
      last = error
    }
    if (Date.now() >= deadline) {
      const because = last instanceof Error ? `: ${last.message}` : ''
      throw new Error(`${what}: not within ${Math.round(timeoutMs / 1000)} s${because}`, { cause: last })
    }
    await sleep(intervalMs)
  }
}
