import { CatalogServiceService } from '#protos/shop/catalog/v1/catalog.ts'
import type { Dapr } from '#lib/dapr.ts'
import type { Money } from './order.ts'

export type CatalogClient = ReturnType<typeof createCatalogClient>

/** Creates the client of catalog, called through the sidecar. */
export function createCatalogClient({ dapr }: { dapr: Dapr }) {
  const catalog = dapr.client(CatalogServiceService, 'catalog')
  return {
    /**
     * Returns title and current price of each SKU that is on sale; others are left out. Throws
     * `unavailable` catalog_unavailable.
     */
    async prices(skus: string[]): Promise<Map<string, { title: string; price: Money }>> {
      const { variants } = await catalog.batchGetVariants({ skus })
      return new Map(variants.flatMap(({ sku, title, price }) => (price ? [[sku, { title, price }] as const] : [])))
    },
  }
}
