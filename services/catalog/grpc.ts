import { invalid, notFound } from '#lib/errors.ts'
import type { Handlers } from '#lib/grpc-server.ts'
import type { CatalogServiceService, Category as CategoryMessage, Product } from '#protos/shop/catalog/v1/catalog.ts'
import type { AvailabilityStore } from './availability-store.ts'
import { categoriesOf, idsOfPath, isCategoryId, type Category } from './category.ts'
import type { CategoryStore } from './category-store.ts'
import {
  cursorAfter,
  isHandle,
  isProductId,
  normaliseSku,
  parseCursor,
  parsePrice,
  parseProduct,
  productIdOf,
  type StoredProduct,
} from './product.ts'
import { skuNotFound, type ProductStore } from './product-store.ts'
import { textProblem } from './text.ts'

const maxSkus = 200
const isSku = (sku: string) => textProblem(sku, { min: 1, max: 100 }) === undefined

/** CatalogService as protos/shop/catalog/v1/catalog.proto describes it, errors included. */
export function createCatalogHandlers(o: {
  products: ProductStore
  availability: AvailabilityStore
  categories: CategoryStore
}): Handlers<typeof CatalogServiceService> {
  /** With how many can be bought now: one read for all of them. */
  async function withAvailability(products: StoredProduct[]): Promise<Product[]> {
    const available = await o.availability.of(products.flatMap((p) => p.variants.map((v) => v.sku)))
    return products.map((p) => productMessage(p, available))
  }
  const one = async (product: StoredProduct) => (await withAvailability([product]))[0]

  async function category(id: string): Promise<Category> {
    const found = isCategoryId(id) ? await o.categories.find(id) : undefined
    if (!found) throw notFound('category_not_found', 'there is no such category')
    return found
  }

  return {
    async listProducts({ categoryId, limit, cursor }) {
      if (limit < 1 || limit > 100) throw invalid('limit', 'must be 1 to 100')
      const after = cursor === '' ? undefined : parseCursor(cursor)
      if (categoryId !== '') await category(categoryId)
      const { products, more } = await o.products.list({ categoryId: categoryId || undefined, after, limit })
      const last = products.at(-1)
      return { products: await withAvailability(products), nextCursor: more && last ? cursorAfter(last.id) : '' }
    },

    async getProduct({ idOrHandle }) {
      // Some handles look like ids.
      const product =
        (isProductId(idOrHandle) ? await o.products.get(idOrHandle) : undefined) ??
        (isHandle(idOrHandle) ? await o.products.get(productIdOf(idOrHandle)) : undefined)
      if (!product) throw notFound('product_not_found', 'there is no such product')
      return { product: await one(product) }
    },

    async batchGetVariants({ skus }) {
      if (skus.length > maxSkus) throw invalid('skus', `must be at most ${maxSkus}`)
      const found = await o.products.pricedSkus(skus.filter(isSku))
      return { variants: found.map(({ sku, productId, title, price }) => ({ sku, productId, title, price })) }
    },

    async upsertProduct(request) {
      if (!request.product) throw invalid('product', 'is missing')
      const { attributes, ...rest } = request.product
      const content = parseProduct({ ...rest, attributes })
      const path = content.categoryId === '' ? '' : (await categoryOf(content.categoryId)).path
      const { product, created } = await o.products.upsert(content, idsOfPath(path))
      return { product: await one(product), created }
    },

    async changePrice(request) {
      const sku = normaliseSku(request.sku)
      const price = parsePrice(request.price)
      if (!isSku(sku)) throw skuNotFound()
      return { product: await one(await o.products.changePrice(sku, price)) }
    },

    async listCategories() {
      return { categories: (await o.categories.all()).map(categoryMessage) }
    },

    async getCategory({ categoryId }) {
      const found = await category(categoryId)
      return {
        category: categoryMessage(found),
        children: (await o.categories.children(found.id)).map(categoryMessage),
      }
    },

    async ensureCategory({ names }) {
      const path = categoriesOf(names)
      await o.categories.ensure(path)
      return { category: categoryMessage(path.at(-1)!) }
    },
  }

  /** The category that a product names: if there is none, the product is wrong. */
  async function categoryOf(id: string): Promise<Category> {
    const found = isCategoryId(id) ? await o.categories.find(id) : undefined
    if (!found) throw invalid('categoryId', 'there is no such category')
    return found
  }
}

const categoryMessage = ({ id, name, parentId, path }: Category): CategoryMessage => ({ id, name, parentId, path })

function productMessage(product: StoredProduct, available: (sku: string) => number): Product {
  const { id, handle, title, description, vendor, categoryId, images, attributes, published, updatedAt } = product
  const variants = product.variants.map(({ sku, options, price }) => ({
    sku,
    options: Object.fromEntries(options.map((option) => [option.name, option.value])),
    price,
    available: available(sku),
  }))
  return { id, handle, title, description, vendor, categoryId, images, attributes, variants, published, updatedAt }
}
