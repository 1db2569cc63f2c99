import * as z from 'zod'
import { on, type Event } from '#lib/consumer.ts'
import type { AvailabilityStore } from './availability-store.ts'

const levels = z.object({
  levels: z.array(z.object({ sku: z.string().min(1), available: z.number().int(), version: z.number().int() })),
})

/** Topic stock: whatever moved stock says how much of it is left. */
export function createStockEvents(availability: AvailabilityStore) {
  const take = on(levels, async ({ data }: Event<z.infer<typeof levels>>) => {
    await availability.apply(data.levels)
    return 'success'
  })
  return {
    'stock.stock-reserved.v1': take,
    'stock.stock-released.v1': take,
    'stock.stock-sold.v1': take,
    'stock.stock-adjusted.v1': take,
  }
}
