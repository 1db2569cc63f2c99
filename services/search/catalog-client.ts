import type { RpcClient } from '#lib/dapr.ts'
import type { CatalogServiceService } from '#protos/shop/catalog/v1/catalog.ts'

/** A page of 500 with large products takes longer than a call of a shopper may. */
const timeoutMs = 2_500
const pageSize = 500

export type CatalogClient = ReturnType<typeof createCatalogClient>

/** Creates the client of catalog, which knows all products. */
export const createCatalogClient = (catalog: RpcClient<typeof CatalogServiceService>) => ({
  /**
   * Returns a page of all products after this id, as catalog would say them in an event, and where
   * the next page begins; '' after the last one. Throws `unavailable`.
   */
  async scan(afterId: string): Promise<{ products: unknown[]; lastId: string }> {
    const { products, lastId } = await catalog.scanProducts({ afterId, limit: pageSize }, { timeoutMs })
    return { products: products.map((json) => JSON.parse(Buffer.from(json).toString())), lastId }
  },
})
