import * as z from 'zod'
import type { Dapr } from '#lib/dapr.ts'
import type { Logger } from '#lib/logger.ts'

const countRows = z.array(z.object({ count: z.int() }))

/** A count is used for so long. */
const freshMs = 30_000
/**
 * Counting reads a range of the index on lists. It may take a fiftieth of the time: if that is not
 * enough for all counts that are asked for, they are older.
 */
const restPerWork = 50
/** Whoever asks first waits for so long; what is not counted by then is unknown in that answer. */
const patienceMs = 200
const maxCounts = 20_000
const maxWaiting = 5_000

type Count = { products: number; until: number }

export type CategoryCounts = ReturnType<typeof createCategoryCounts>

/**
 * Counts the published products in lists, which are those of a category and all below it. Requests
 * never wait for a count that there is already, however old: it is counted again in the background.
 */
export function createCategoryCounts(deps: { binding: Dapr['binding']; log: Logger; now: () => number }) {
  const { binding, log, now } = deps
  const counts = new Map<string, Count>()
  const waiting = new Set<string>()
  let running: Promise<void> | undefined

  async function count(id: string): Promise<void> {
    const began = now()
    const found = await binding('catalog-query', 'count', { data: { filter: { 'value.listedIn': id } } })
    const [row] = countRows.parse(found)
    if (counts.size >= maxCounts) counts.clear()
    const spent = now() - began
    counts.set(id, { products: row?.count ?? 0, until: now() + Math.max(freshMs, spent * restPerWork * waiting.size) })
  }

  async function run(): Promise<void> {
    for (const id of waiting) {
      await count(id)
      waiting.delete(id)
    }
  }

  return {
    /** Returns how many products a list had when it was counted last, if it ever was. */
    last: (id: string): number | undefined => counts.get(id)?.products,

    /** Returns how many products are in each of the lists; those not counted yet are left out. */
    async of(ids: string[]): Promise<Map<string, number>> {
      for (const id of ids) if ((counts.get(id)?.until ?? 0) < now() && waiting.size < maxWaiting) waiting.add(id)
      if (waiting.size > 0)
        running ??= run()
          .catch((err: unknown) => {
            waiting.clear()
            log.warn({ err }, 'the products of categories could not be counted')
          })
          .finally(() => (running = undefined))
      if (running && ids.some((id) => !counts.has(id))) {
        let timer: NodeJS.Timeout | undefined
        await Promise.race([running, new Promise((resolve) => (timer = setTimeout(resolve, patienceMs)))])
        clearTimeout(timer)
      }
      return new Map(ids.flatMap((id) => (counts.has(id) ? [[id, counts.get(id)!.products]] : [])))
    },
  }
}
