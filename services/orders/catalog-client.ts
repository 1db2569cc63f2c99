import { CatalogServiceService } from '#protos/shop/catalog/v1/catalog.ts'
import type { Dapr } from '#lib/dapr.ts'
import type { Money } from './order.ts'

export type CatalogClient = ReturnType<typeof createCatalogClient>

export function createCatalogClient(dapr: Dapr) {
  const catalog = dapr.client(CatalogServiceService, 'catalog')
  return {
    /**
     * Title and price of each SKU that can be bought; the others are left out. Throws AppError
     * `catalog_unavailable`.
     */
    async prices(skus: string[]): Promise<Map<string, { title: string; price: Money }>> {
      const { variants } = await catalog.batchGetVariants({ skus })
      return new Map(variants.flatMap(({ sku, title, price }) => (price ? [[sku, { title, price }] as const] : [])))
    },
  }
}
