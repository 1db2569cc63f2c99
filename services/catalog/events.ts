import * as z from 'zod'
import { on, type EventHandlers } from '#lib/consumer.ts'
import { availabilityTopic, importsTopic, type ProductStore } from './product-store.ts'

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

/** Creates the handler of topics `stock-levels` and `stock-imports`. */
export function createEventHandlers({ products }: { products: ProductStore }): EventHandlers {
  const skusOf = ({ levels }: z.infer<typeof stockLevels>) => levels.map(({ sku }) => sku)
  return {
    'stock.levels-changed.v1': on(stockLevels, {
      keys: ({ data }) => products.levelKeys(skusOf(data)),
      moreKeys: ({ data }, known) => products.moreLevelKeys(known, skusOf(data)),
      decide({ data, topic }, draft) {
        const next = topic === 'stock-imports' ? importsTopic : availabilityTopic
        return { outcome: 'done', afterCommit: products.applyLevels(draft, data.levels, next) }
      },
    }),
  }
}
