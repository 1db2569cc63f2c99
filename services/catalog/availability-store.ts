import * as z from 'zod'
import type { StateStore } from '#lib/dapr.ts'
import { retryOnConflict } from '#lib/retry-on-conflict.ts'
import { availabilityKey } from './sku-key.ts'

/** Units of a SKU that are available, at a version of its stock. Versions of a SKU only grow. */
export type Level = { sku: string; available: number; version: number }
const storedLevel = z.object({ available: z.number(), version: z.number() })

// 100 products of 100 variants are 10,000 keys.
const keysPerRead = 1_000

export type AvailabilityStore = ReturnType<typeof createAvailabilityStore>

/**
 * Creates the catalogue's copy of stock levels, separate from the products: stock changes with
 * every order, a product once a month. Everything throws `unavailable` while the store is
 * unavailable.
 */
export function createAvailabilityStore({ state }: { state: StateStore }) {
  async function read(skus: string[]) {
    const keys = [...new Set(skus)].map(availabilityKey)
    const reads = []
    for (let i = 0; i < keys.length; i += keysPerRead)
      reads.push(state.bulkGet(keys.slice(i, i + keysPerRead), storedLevel))
    return new Map((await Promise.all(reads)).flatMap((found) => [...found]))
  }

  return {
    /** Returns how many units of each SKU are available; 0 for a SKU without a level. */
    async of(skus: string[]): Promise<(sku: string) => number> {
      const levels = await read(skus)
      return (sku) => levels.get(availabilityKey(sku))?.value.available ?? 0
    },

    /**
     * Stores the levels that are newer than the stored ones. Repeats and stale levels change
     * nothing, so events may arrive twice.
     */
    async apply(levels: Level[]): Promise<void> {
      await retryOnConflict(async () => {
        const stored = await read(levels.map((l) => l.sku))
        const newer = levels.flatMap((level) => {
          const before = stored.get(availabilityKey(level.sku))
          return before && before.value.version >= level.version ? [] : [{ level, before }]
        })
        // Separate writes: what one attempt has written, the next finds done.
        const writes = newer.map(({ level: { sku, available, version }, before }) =>
          state.set(
            availabilityKey(sku),
            { available: Math.max(0, available), version },
            before ? { etag: before.etag } : { firstWrite: true },
          ),
        )
        const failed = (await Promise.allSettled(writes)).find((w) => w.status === 'rejected')
        if (failed) throw failed.reason
      })
    },
  }
}
