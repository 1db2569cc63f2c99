import { AppError, invalid, toAppError, type ErrorKind } from '#lib/errors.ts'
import type { Handlers } from '#lib/grpc-server.ts'
import { normaliseSku, skuProblem } from '#lib/text.ts'
import type {
  BulkResult,
  CatalogServiceService,
  ListedProduct,
  ProductInput,
  WrittenProduct,
} from '#protos/shop/catalog/v1/catalog.ts'
import { idsOfPath, isCategoryId } from './category.ts'
import type { CategoryCounts } from './category-counts.ts'
import { createCategoryHandlers } from './category-grpc.ts'
import { categoryNotFound, type CategoryStore } from './category-store.ts'
import { cursorAfter, parseCursor } from './cursor.ts'
import { creationOf, isProductId, newestKey, type Actor, type ProductContent } from './product.ts'
import { parseChange, parseProduct } from './product-input.ts'
import { productEvent, productJson } from './product-json.ts'
import { asSent, productNotFound, type ProductStore, type Written } from './product-store.ts'

const maxLimit = 100
const maxScanned = 1_000
const maxSkus = 200
const maxBatch = 100
const maxBulk = 1_000
// A gRPC message through the sidecars has at most 4 MiB.
const maxResponseBytes = 3.5 * 1024 * 1024

/** The RPCs of protos/shop/catalog/v1/catalog.proto, which lists their errors. */
export function createCatalogHandlers(deps: {
  products: ProductStore
  categories: CategoryStore
  counts: CategoryCounts
}): Handlers<typeof CatalogServiceService> {
  const { products, categories, counts } = deps

  const findCategory = async (id: string) => (isCategoryId(id) ? categories.find(id) : undefined)

  /** Returns a category and all above it; none for the empty id. Throws `invalid`. */
  async function categoryIdsOf(id: string): Promise<string[]> {
    if (id === '') return []
    const category = await findCategory(id)
    if (!category) throw invalid('categoryId', 'unknown category')
    return idsOfPath(category.path)
  }

  function parseInput(input: ProductInput | undefined): ProductContent {
    if (!input) throw invalid('product', 'is required')
    return parseProduct(input)
  }

  return {
    async listProducts({ categoryId, limit, cursor, after: product }) {
      if (limit < 1 || limit > maxLimit) throw invalid('limit', `must be 1 to ${maxLimit}`)
      const after = cursor !== '' ? parseCursor(cursor) : product && keyOfListed(product)
      if (categoryId !== '' && !(await findCategory(categoryId))) throw categoryNotFound()
      const page = await products.list({ ...(categoryId && { list: categoryId }), after, limit })
      return {
        products: page.products.map(productJson),
        nextCursor: page.next === undefined ? '' : cursorAfter(page.next),
      }
    },

    async getProduct({ idOrHandle }) {
      const product = await products.get(idOrHandle)
      if (!product) throw productNotFound()
      return { product }
    },

    async batchGetProducts({ skus }) {
      if (skus.length > maxBatch) throw invalid('skus', `must have at most ${maxBatch} SKUs`)
      const found = (await products.withSkus(valid(skus))).map(productJson)
      if (found.reduce((sum, json) => sum + json.length, 0) > maxResponseBytes)
        throw invalid('skus', 'has products that are too large for one response; ask for fewer')
      return { products: found }
    },

    async batchGetVariants({ skus }) {
      if (skus.length > maxSkus) throw invalid('skus', `must have at most ${maxSkus} SKUs`)
      const found = await products.pricedSkus(valid(skus))
      return { variants: found.map(({ sku, productId, title, price }) => ({ sku, productId, title, price })) }
    },

    async createProduct({ product, idempotencyKey, userId, isAdmin }) {
      const actor = parseActor({ userId, isAdmin })
      if (idempotencyKey.length > 255) throw invalid('Idempotency-Key', 'must have at most 255 characters')
      const content = parseInput(product)
      const categoryIds = await categoryIdsOf(content.categoryId)
      const creation = creationOf(userId, idempotencyKey, content)
      return { written: toWritten(await products.create(content, { categoryIds, actor, creation })) }
    },

    async replaceProduct({ product, ifMatch, userId, isAdmin }) {
      const actor = parseActor({ userId, isAdmin })
      const content = parseInput(product)
      const categoryIds = await categoryIdsOf(content.categoryId)
      return { written: toWritten(await products.replace(content, { categoryIds, actor, ifMatch })) }
    },

    async changeProduct({ idOrHandle, ifMatch, userId, isAdmin, ...input }) {
      const actor = parseActor({ userId, isAdmin })
      const change = parseChange(input)
      const categoryIds = change.categoryId === undefined ? undefined : await categoryIdsOf(change.categoryId)
      return { written: toWritten(await products.change(idOrHandle, change, { categoryIds, actor, ifMatch })) }
    },

    async deleteProduct({ idOrHandle, ifMatch, userId, isAdmin }) {
      await products.remove(idOrHandle, { actor: parseActor({ userId, isAdmin }), ifMatch })
      return {}
    },

    async bulkReplaceProducts({ products: inputs, userId, isAdmin }) {
      const actor = parseActor({ userId, isAdmin })
      if (inputs.length > maxBulk) throw invalid('products', `must have at most ${maxBulk} products`)
      const known = new Map<string, Promise<string[]>>()
      const categoryIdsOnce = (id: string) => {
        const found = known.get(id) ?? categoryIdsOf(id)
        known.set(id, found)
        return found
      }
      // They are committed in the order of their works, so of two with one handle the later counts.
      const parsed = await Promise.all(
        inputs.map(async (input): Promise<{ content: ProductContent; categoryIds: string[] } | BulkResult> => {
          try {
            const content = parseProduct(input)
            return { content, categoryIds: await categoryIdsOnce(content.categoryId) }
          } catch (error) {
            return refused(error)
          }
        }),
      )
      const good = parsed.filter((each) => 'content' in each)
      const written = (await products.replaceMany(good, actor)).values()
      const results = parsed.map((each): BulkResult => {
        if ('outcome' in each) return each
        const result = written.next().value!
        if (result instanceof AppError) return refused(result)
        return { productId: result.product.id, outcome: result.outcome, code: '', errors: [] }
      })
      return { results }
    },

    async checkSkuOwner({ skus, userId, isAdmin }) {
      if (skus.length > maxSkus) throw invalid('skus', `must have at most ${maxSkus} SKUs`)
      await products.checkOwner(skus.map(normaliseSku), parseActor({ userId, isAdmin }))
      return {}
    },

    async scanProducts({ afterId, limit }) {
      if (limit < 1 || limit > maxScanned) throw invalid('limit', `must be 1 to ${maxScanned}`)
      if (afterId !== '' && !isProductId(afterId)) throw invalid('afterId', 'must be the id of a product')
      const { products: found, isLast } = await products.scan(afterId, limit)
      return {
        products: found.map((product) => Buffer.from(JSON.stringify(productEvent(product)))),
        lastId: isLast ? '' : (found.at(-1)?.id ?? ''),
      }
    },

    ...createCategoryHandlers({ categories, counts }),
  }
}

/** Throws `invalid`: nobody is no admin, and owns nothing. */
function parseActor(actor: Actor): Actor {
  if (actor.userId === '') throw invalid('userId', 'is required')
  return actor
}

const valid = (skus: string[]) => [...new Set(skus.map(normaliseSku))].filter((sku) => !skuProblem(sku))

const toWritten = ({ product, outcome }: Written): WrittenProduct => ({
  product: asSent(product),
  handle: product.handle,
  created: outcome === 'created' || outcome === 'replayed',
  replayed: outcome === 'replayed',
})

const refusals = new Set<ErrorKind>(['invalid', 'exists', 'forbidden', 'rejected'])

/** What a bulk says of a product that is not written. Throws what is no fault of the product. */
function refused(error: unknown): BulkResult {
  const { kind, code, fields, message } = toAppError(error)
  if (!refusals.has(kind)) throw error
  const errors = fields.length > 0 ? fields : [{ field: 'product', message }]
  return { productId: '', outcome: 'refused', code, errors }
}

/** Where a list goes on after a product. Throws `invalid` bad_cursor. */
function keyOfListed({ productId, createdAt }: ListedProduct): string {
  if (!isProductId(productId) || Number.isNaN(Date.parse(createdAt)))
    throw invalid('after', 'must be a product of a list', 'bad_cursor')
  return newestKey({ id: productId, createdAt })
}
