import { isDeepStrictEqual } from 'node:util'
import * as z from 'zod'
import type { Dapr, Operation, StateStore } from '#lib/dapr.ts'
import { AppError, notFound } from '#lib/errors.ts'
import { retryOnConflict } from '#lib/retry-on-conflict.ts'
import { decodeAttributes, encodeAttributes, type Attributes } from './attributes.ts'
import { moneySchema, type Money } from './price.ts'
import {
  changePrice,
  everywhere,
  productIdOf,
  replaceProduct,
  type ProductContent,
  type StoredProduct,
  type Variant,
} from './product.ts'
import { skuKey } from './sku-key.ts'

/**
 * What an order needs to know about a variant, in a separate document: many take one bulk read.
 * Written with its product, in one transaction.
 */
export type PricedSku = { sku: string; productId: string; title: string; price: Money; published: boolean }
const storedSku: z.ZodType<PricedSku> = z.object({
  sku: z.string(),
  productId: z.string(),
  title: z.string(),
  price: moneySchema,
  published: z.boolean(),
})

/** A product as read back from the store. */
const storedProductSchema: z.ZodType<StoredProduct> = z.object({
  id: z.string(),
  handle: z.string(),
  title: z.string(),
  description: z.string(),
  vendor: z.string(),
  categoryId: z.string(),
  images: z.array(z.string()),
  attributes: z.record(z.string(), z.unknown()).transform((a) => decodeAttributes(a as Attributes) as Attributes),
  variants: z.array(
    z.object({
      sku: z.string(),
      options: z.array(z.object({ name: z.string(), value: z.string() })),
      price: moneySchema,
    }),
  ),
  published: z.boolean(),
  listedIn: z.array(z.string()),
  updatedAt: z.string(),
})

const productKey = (id: string) => `product:{catalog}:${id}`
// Dapr prefixes keys with the app id.
const documentId = (id: string) => `catalog||${productKey(id)}`
const foundSchema = z.array(z.object({ value: storedProductSchema })).nullish()

const pricedSku = (product: StoredProduct, { sku, price }: Variant): PricedSku => ({
  sku,
  productId: product.id,
  title: product.title,
  price,
  published: product.published,
})
const toDocument = (product: StoredProduct) => ({ ...product, attributes: encodeAttributes(product.attributes) })

// A gRPC message through the sidecars has at most 4 MiB.
const pageBytes = 3 * 1024 * 1024

/** Which products to list: at most `limit`, after the id `after`, of a category or of all. */
export type Page = { categoryId?: string; after?: string; limit: number }

/**
 * Returns the query for a page of products. Any page is a range of the index on `value.listedIn`
 * and `_id`, in its order. Exported for its test.
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
 * Creates the store of products and their SKUs. `binding` reaches `catalog-query`, which reads the
 * collection of `state`. Everything throws `unavailable` while the store is unavailable.
 */
export function createProductStore(deps: { state: StateStore; binding: Dapr['binding']; now: () => Date }) {
  const { state, binding, now } = deps

  /** Returns at most `limit` products. `full`: there may be more. */
  async function find(page: Page): Promise<{ products: StoredProduct[]; full: boolean }> {
    const { limit } = page
    try {
      const documents = await binding('catalog-query', 'find', { data: pageQuery(page) })
      const products = (foundSchema.parse(documents) ?? []).map((d) => d.value)
      return { products, full: products.length === limit }
    } catch (error) {
      // The response is too large: half as many fit. A page may be shorter than its limit.
      const cause = error instanceof AppError && error.cause instanceof Error ? error.cause.message : ''
      if (limit > 1 && /larger than max/.test(cause)) return find({ ...page, limit: limit >> 1 })
      throw error
    }
  }

  return {
    /** Returns the product with this id, or undefined. */
    get: async (id: string): Promise<StoredProduct | undefined> =>
      (await state.get(productKey(id), storedProductSchema))?.value,

    /**
     * Returns a page of published products, by id. A page of large products may be shorter than its
     * limit. `more`: others follow.
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
     * Returns the current prices of SKUs, in one read. SKUs that are unknown or not published are
     * left out.
     */
    async pricedSkus(skus: string[]): Promise<PricedSku[]> {
      const documents = await state.bulkGet([...new Set(skus)].map(skuKey), storedSku)
      return [...documents.values()].map((d) => d.value).filter((s) => s.published)
    },

    /**
     * Creates or replaces the product with the content's handle, with its SKUs and the event
     * products.product-upserted.v1, all or none. Writes nothing if nothing changes. `categoryIds`
     * are its category and all above. Throws `exists` sku_taken.
     */
    async upsert(
      content: ProductContent,
      categoryIds: string[],
    ): Promise<{ product: StoredProduct; created: boolean }> {
      const id = productIdOf(content.handle)
      return retryOnConflict(async () => {
        const before = await state.get(productKey(id), storedProductSchema)
        const decision = replaceProduct(before?.value, content, categoryIds, now())
        if (decision.outcome === 'unchanged') return { product: before!.value, created: false }

        const { product } = decision
        const old = new Map((before?.value.variants ?? []).map((v) => [v.sku, pricedSku(before!.value, v)]))
        await refuseTakenSkus(product, old)

        const operations: Operation[] = [
          {
            upsert: productKey(id),
            value: toDocument(product),
            ...(before ? { etag: before.etag } : { firstWrite: true }),
          },
        ]
        for (const variant of product.variants) {
          const value = pricedSku(product, variant)
          // The product's etag guards the SKUs that it already has.
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
        await state.transact(operations)
        return { product, created: !before }
      })
    },

    /**
     * Changes one variant's price and publishes products.price-changed.v1. Writes nothing if it
     * already has that price. Returns the product. Throws `not_found` sku_not_found.
     */
    async changePrice(sku: string, price: Money): Promise<StoredProduct> {
      return retryOnConflict(async () => {
        const owner = await state.get(skuKey(sku), storedSku)
        const before = owner && (await state.get(productKey(owner.value.productId), storedProductSchema))
        if (!before?.value.variants.some((v) => v.sku === sku)) throw skuNotFound()
        const decision = changePrice(before.value, sku, price, now())
        if (decision.outcome === 'unchanged') return before.value
        const { product } = decision
        await state.transact([
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

  async function refuseTakenSkus(product: StoredProduct, old: Map<string, PricedSku>): Promise<void> {
    const fresh = product.variants.filter((v) => !old.has(v.sku))
    const owners = await state.bulkGet(
      fresh.map((v) => skuKey(v.sku)),
      storedSku,
    )
    const fields = product.variants.flatMap((v, i) => {
      const owner = owners.get(skuKey(v.sku))
      return owner && owner.value.productId !== product.id
        ? [{ field: `variants.${i}.sku`, message: 'must not be a SKU of another product' }]
        : []
    })
    if (fields.length > 0) throw new AppError('exists', 'sku_taken', 'another product has one of the SKUs', { fields })
  }
}

export const skuNotFound = () => notFound('sku_not_found', 'unknown SKU')
