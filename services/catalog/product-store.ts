import { isDeepStrictEqual } from 'node:util'
import * as z from 'zod'
import type { Dapr, Operation, StateStore } from '#lib/dapr.ts'
import { AppError, notFound } from '#lib/errors.ts'
import { retryOnConflict } from '#lib/retry-on-conflict.ts'
import {
  changePrice,
  encodeAttributes,
  everywhere,
  moneySchema,
  productIdOf,
  replaceProduct,
  storedProductSchema,
  type Money,
  type ProductContent,
  type StoredProduct,
  type Variant,
} from './product.ts'
import { skuKey } from './sku-key.ts'

/**
 * What an order needs of a variant, in a document of its own: many are then one bulk read. Written
 * with its product, in one transaction.
 */
export type PricedSku = { sku: string; productId: string; title: string; price: Money; published: boolean }
const storedSku: z.ZodType<PricedSku> = z.object({
  sku: z.string(),
  productId: z.string(),
  title: z.string(),
  price: moneySchema,
  published: z.boolean(),
})

const productKey = (id: string) => `product:{catalog}:${id}`
// As the store spells it: Dapr puts the app's id in front.
const documentId = (id: string) => `catalog||${productKey(id)}`
const found = z.array(z.object({ value: storedProductSchema })).nullish()

const pricedSku = (product: StoredProduct, { sku, price }: Variant): PricedSku => ({
  sku,
  productId: product.id,
  title: product.title,
  price,
  published: product.published,
})
const toDocument = (product: StoredProduct) => ({ ...product, attributes: encodeAttributes(product.attributes) })

// A gRPC message has at most 4 MiB on its way through the sidecars.
const pageBytes = 3 * 1024 * 1024

export type Page = { categoryId?: string; after?: string; limit: number }

/**
 * The query for a page of products: a range of the index on `value.listedIn` and `_id`, in its
 * order, whatever the page. Exported for its test.
 */
export const pageQuery = ({ categoryId, after, limit }: Page) =>
  ({
    filter: {
      'value.listedIn': categoryId ?? everywhere,
      ...(after === undefined ? {} : { _id: { $gt: documentId(after) } }),
    },
    sort: { _id: 1 },
    limit,
    projection: { value: 1 },
  }) as const

export type ProductStore = ReturnType<typeof createProductStore>

/**
 * Products and the SKUs that they hold. Everything throws `unavailable` when the store is away.
 * `query` is a binding to the same collection.
 */
export function createProductStore(o: { state: StateStore; query: Dapr['binding']; now: () => Date }) {
  /** At most `limit` products; `full`: there may be others. */
  async function find(page: Page): Promise<{ products: StoredProduct[]; full: boolean }> {
    const { limit } = page
    try {
      const documents = await o.query('catalog-query', 'find', { data: pageQuery(page) })
      const products = (found.parse(documents) ?? []).map((d) => d.value)
      return { products, full: products.length === limit }
    } catch (error) {
      // Huge products: half as many fit. A page may be shorter than its limit.
      const cause = error instanceof AppError && error.cause instanceof Error ? error.cause.message : ''
      if (limit > 1 && /larger than max/.test(cause)) return find({ ...page, limit: limit >> 1 })
      throw error
    }
  }

  return {
    /** The product with this id, or undefined. */
    get: async (id: string): Promise<StoredProduct | undefined> =>
      (await o.state.get(productKey(id), storedProductSchema))?.value,

    /**
     * Published products in the order of their ids, those after `after` (undefined: from the
     * start), at most `limit`. `categoryId` undefined: of all categories. `more`: there are others
     * behind them.
     */
    async list(page: Page): Promise<{ products: StoredProduct[]; more: boolean }> {
      const found = await find({ ...page, limit: page.limit + 1 })
      let bytes = 0
      const products = found.products
        .slice(0, page.limit)
        .filter((p, i) => (bytes += Buffer.byteLength(JSON.stringify(p))) <= pageBytes || i === 0)
      return { products, more: found.full || products.length < found.products.length }
    },

    /**
     * Published SKUs' prices of now; what is not there or not published is left out. One read for
     * all.
     */
    async pricedSkus(skus: string[]): Promise<PricedSku[]> {
      const documents = await o.state.bulkGet([...new Set(skus)].map(skuKey), storedSku)
      return [...documents.values()].map((d) => d.value).filter((s) => s.published)
    },

    /**
     * Creates the product with the content's handle, or replaces it, with its SKUs and the event
     * that tells of it: all or nothing. Writes nothing when nothing changes. `categoryIds`: its
     * category and all above. Throws `exists` sku_taken.
     */
    async upsert(
      content: ProductContent,
      categoryIds: string[],
    ): Promise<{ product: StoredProduct; created: boolean }> {
      const id = productIdOf(content.handle)
      return retryOnConflict(async () => {
        const before = await o.state.get(productKey(id), storedProductSchema)
        const product = replaceProduct(before?.value, content, categoryIds, o.now())
        if (!product) return { product: before!.value, created: false }

        const old = new Map((before?.value.variants ?? []).map((v) => [v.sku, pricedSku(before!.value, v)]))
        await refuseTaken(product, old)

        const operations: Operation[] = [
          {
            upsert: productKey(id),
            value: toDocument(product),
            ...(before ? { etag: before.etag } : { firstWrite: true }),
          },
        ]
        for (const variant of product.variants) {
          const value = pricedSku(product, variant)
          // A SKU that was this product's is guarded by the product's etag.
          if (!isDeepStrictEqual(old.get(variant.sku), value))
            operations.push({ upsert: skuKey(variant.sku), value, firstWrite: !old.has(variant.sku) })
          old.delete(variant.sku)
        }
        for (const sku of old.keys()) operations.push({ delete: skuKey(sku) })
        const { handle, title } = product
        const variants = product.variants.map(({ sku, price }) => ({ sku, price }))
        operations.push({
          event: { type: 'products.product-upserted.v1', key: id, data: { productId: id, handle, title, variants } },
        })
        await o.state.transact(operations)
        return { product, created: !before }
      })
    },

    /**
     * Changes one variant's price and publishes products.price-changed.v1; writes nothing when it
     * has that price. Throws `not_found` sku_not_found.
     */
    async changePrice(sku: string, price: Money): Promise<StoredProduct> {
      return retryOnConflict(async () => {
        const owner = await o.state.get(skuKey(sku), storedSku)
        const before = owner && (await o.state.get(productKey(owner.value.productId), storedProductSchema))
        if (!before?.value.variants.some((v) => v.sku === sku)) throw skuNotFound()
        const product = changePrice(before.value, sku, price, o.now())
        if (!product) return before.value
        await o.state.transact([
          { upsert: productKey(product.id), value: toDocument(product), etag: before.etag },
          {
            upsert: skuKey(sku),
            value: pricedSku(
              product,
              product.variants.find((v) => v.sku === sku)!,
            ),
          },
          {
            event: { type: 'products.price-changed.v1', key: product.id, data: { productId: product.id, sku, price } },
          },
        ])
        return product
      })
    },
  }

  async function refuseTaken(product: StoredProduct, old: Map<string, PricedSku>): Promise<void> {
    const fresh = product.variants.filter((v) => !old.has(v.sku))
    const owners = await o.state.bulkGet(
      fresh.map((v) => skuKey(v.sku)),
      storedSku,
    )
    const fields = product.variants.flatMap((v, i) => {
      const owner = owners.get(skuKey(v.sku))
      return owner && owner.value.productId !== product.id
        ? [{ field: `variants.${i}.sku`, message: 'another product has this SKU' }]
        : []
    })
    if (fields.length > 0) throw new AppError('exists', 'sku_taken', 'another product has one of the SKUs', { fields })
  }
}

export const skuNotFound = () => notFound('sku_not_found', 'there is no such SKU')
