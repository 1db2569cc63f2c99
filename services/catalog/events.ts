import * as z from 'zod'
import { on, type EventHandlers } from '#lib/consumer.ts'
import type { AvailabilityStore } from './availability-store.ts'

const stockLevels = z.object({
  levels: z.array(z.object({ sku: z.string().min(1), available: z.number().int(), version: z.number().int() })),
})

/** Creates the handlers of topic `stock`: every change of stock carries the new levels. */
export function createEventHandlers({ availability }: { availability: AvailabilityStore }): EventHandlers {
  const applyLevels = on(stockLevels, async (event) => {
    await availability.apply(event.data.levels)
    return 'success'
  })
  return {
    'stock.stock-reserved.v1': applyLevels,
    'stock.stock-released.v1': applyLevels,
    'stock.stock-sold.v1': applyLevels,
    'stock.stock-adjusted.v1': applyLevels,
  }
}
