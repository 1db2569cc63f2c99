// Two kinds of load: a closed loop, whose callers each wait for a response, and an open loop, whose
// calls start at a fixed rate.
import { setTimeout as sleep } from 'node:timers/promises'

export type Rate = { callers: number; perSecond: number; p50Ms: number; p99Ms: number; count: number; failed: number }

/**
 * Runs `callers` at once for `ms`, each starting its next call when the last has ended, after an
 * unmeasured tenth of that time. Failed calls are counted separately, not in the rate.
 */
export async function closedLoop(callers: number, ms: number, work: () => Promise<unknown>): Promise<Rate> {
  const run = async (forMs: number) => {
    const times: number[] = []
    let failed = 0
    const start = performance.now()
    const end = start + forMs
    await Promise.all(
      Array.from({ length: callers }, async () => {
        for (let began = performance.now(); began < end; began = performance.now()) {
          try {
            await work()
            times.push(performance.now() - began)
          } catch {
            failed += 1
          }
        }
      }),
    )
    return { times, failed, seconds: (performance.now() - start) / 1_000 }
  }
  await run(ms / 10)
  const { times, failed, seconds } = await run(ms)
  const { p50Ms, p99Ms, count } = summary(times)
  return { callers, perSecond: count / seconds, p50Ms, p99Ms, count, failed }
}

/**
 * Starts `perSecond` calls per second for `ms`, however long each takes, and waits for all of them.
 * @throws the first call's failure
 */
export async function openLoop(perSecond: number, ms: number, work: () => Promise<unknown>): Promise<void> {
  const works: Promise<unknown>[] = []
  const start = performance.now()
  for (let n = 0; n < (perSecond * ms) / 1_000; n += 1) {
    const wait = start + (n * 1_000) / perSecond - performance.now()
    if (wait > 0) await sleep(wait)
    works.push(work())
  }
  await Promise.all(works)
}

export type Summary = { count: number; p50Ms: number; p99Ms: number; maxMs: number }

export function summary(times: number[]): Summary {
  const sorted = times.toSorted((a, b) => a - b)
  return {
    count: sorted.length,
    p50Ms: percentile(sorted, 0.5),
    p99Ms: percentile(sorted, 0.99),
    maxMs: percentile(sorted, 1),
  }
}

/**
 * Returns the smallest value that is at or above the share `p` of all (nearest rank).
 * @param sorted ascending; NaN is returned when it is empty
 */
export function percentile(sorted: number[], p: number): number {
  return sorted[Math.max(0, Math.ceil(sorted.length * p) - 1)] ?? Number.NaN
}
