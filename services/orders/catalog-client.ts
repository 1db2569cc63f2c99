import { CatalogServiceService } from '#protos/shop/catalog/v1/catalog.ts'
import type { Dapr } from '#lib/dapr.ts'
import { activeContext, inTraceOf } from '#lib/telemetry.ts'
import type { Money } from './order.ts'

export type CatalogClient = ReturnType<typeof createCatalogClient>
export type Prices = Map<string, { title: string; price: Money }>

/** catalog's limit. */
const maxSkus = 200

type Lookup = {
  skus: string[]
  context: ReturnType<typeof activeContext>
  resolve: (prices: Prices) => void
  reject: (error: unknown) => void
}

/**
 * Creates the client of catalog, called through the sidecar. Look-ups that come while another is
 * under way share the next call: at 153 orders/s one call prices about three of them.
 */
export function createCatalogClient({ dapr }: { dapr: Dapr }) {
  const catalog = dapr.client(CatalogServiceService, 'catalog')
  const waiting: Lookup[] = []
  let running = false

  async function run(): Promise<void> {
    await new Promise(setImmediate)
    while (waiting.length > 0) {
      const skus = new Set<string>()
      const batch: Lookup[] = []
      for (const lookup of waiting) {
        if (batch.length > 0 && skus.size + lookup.skus.length > maxSkus) break
        for (const sku of lookup.skus) skus.add(sku)
        batch.push(lookup)
      }
      waiting.splice(0, batch.length)
      try {
        const { variants } = await inTraceOf(batch[0]!.context, () => catalog.batchGetVariants({ skus: [...skus] }))
        const prices: Prices = new Map(
          variants.flatMap(({ sku, title, price }) => (price ? [[sku, { title, price }] as const] : [])),
        )
        for (const { resolve } of batch) resolve(prices)
      } catch (error) {
        for (const { reject } of batch) reject(error)
      }
    }
    running = false
  }

  return {
    /**
     * Returns title and current price of each SKU that is on sale, and perhaps of others; SKUs that
     * are not on sale are left out. At most 200 SKUs. Throws `unavailable` catalog_unavailable.
     */
    prices(skus: string[]): Promise<Prices> {
      return new Promise((resolve, reject) => {
        waiting.push({ skus, context: activeContext(), resolve, reject })
        if (running) return
        running = true
        void run()
      })
    },
  }
}
