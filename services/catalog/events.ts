import * as z from 'zod'
import { on, type EventHandlers } from '#lib/consumer.ts'
import type { ProductStore } from './product-store.ts'

const stockLevels = z.object({
  levels: z.array(
    z.object({
      sku: z.string().min(1),
      available: z.int().transform((units) => Math.max(0, units)),
      ordered: z.int().default(0),
      version: z.int(),
    }),
  ),
})

/**
 * Creates the handlers of topics `stock`, `stock-levels` and `stock-imports`: every change of what
 * is available carries the new levels.
 */
export function createEventHandlers({ products }: { products: ProductStore }): EventHandlers {
  const skusOf = ({ levels }: z.infer<typeof stockLevels>) => levels.map(({ sku }) => sku)
  const applyLevels = on(stockLevels, {
    keys: ({ data }) => products.levelKeys(skusOf(data)),
    moreKeys: ({ data }, known) => products.moreLevelKeys(known, skusOf(data)),
    decide: ({ data }, draft) => ({ outcome: 'done', afterCommit: products.applyLevels(draft, data.levels) }),
  })
  return {
    'stock.stock-reserved.v1': applyLevels,
    'stock.stock-released.v1': applyLevels,
    'stock.stock-adjusted.v1': applyLevels,
  }
}
