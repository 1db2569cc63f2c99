import { invalid, notFound } from '#lib/errors.ts'
import type { Handlers } from '#lib/grpc-server.ts'
import { normaliseSku, skuProblem } from '#lib/text.ts'
import type { CatalogServiceService, Category as CategoryMessage, Product } from '#protos/shop/catalog/v1/catalog.ts'
import type { AvailabilityStore } from './availability-store.ts'
import { categoriesOf, idsOfPath, isCategoryId, type Category } from './category.ts'
import type { CategoryStore } from './category-store.ts'
import { cursorAfter, parseCursor } from './cursor.ts'
import { parsePrice } from './price.ts'
import { isHandle, isProductId, productIdOf, type StoredProduct } from './product.ts'
import { parseProduct } from './product-input.ts'
import { skuNotFound, type ProductStore } from './product-store.ts'

const maxLimit = 100
const maxSkus = 200

/** The RPCs of protos/shop/catalog/v1/catalog.proto, which lists their errors. */
export function createCatalogHandlers(deps: {
  products: ProductStore
  availability: AvailabilityStore
  categories: CategoryStore
}): Handlers<typeof CatalogServiceService> {
  const { products, availability, categories } = deps

  /** Adds to each product how many units are available, by one read for all of them. */
  async function toMessages(found: StoredProduct[]): Promise<Product[]> {
    const available = await availability.of(found.flatMap((p) => p.variants.map((v) => v.sku)))
    return found.map((product) => productMessage(product, available))
  }
  const toMessage = async (product: StoredProduct) => (await toMessages([product]))[0]

  const findCategory = async (id: string) => (isCategoryId(id) ? categories.find(id) : undefined)

  return {
    async listProducts({ categoryId, limit, cursor }) {
      if (limit < 1 || limit > maxLimit) throw invalid('limit', `must be 1 to ${maxLimit}`)
      const after = cursor === '' ? undefined : parseCursor(cursor)
      if (categoryId !== '' && !(await findCategory(categoryId))) throw categoryNotFound()
      const page = await products.list({ categoryId: categoryId || undefined, after, limit })
      const last = page.products.at(-1)
      return { products: await toMessages(page.products), nextCursor: page.more && last ? cursorAfter(last.id) : '' }
    },

    async getProduct({ idOrHandle }) {
      // Some handles look like ids.
      const product =
        (isProductId(idOrHandle) ? await products.get(idOrHandle) : undefined) ??
        (isHandle(idOrHandle) ? await products.get(productIdOf(idOrHandle)) : undefined)
      if (!product) throw notFound('product_not_found', 'unknown product')
      return { product: await toMessage(product) }
    },

    async batchGetVariants({ skus }) {
      if (skus.length > maxSkus) throw invalid('skus', `must have at most ${maxSkus} SKUs`)
      const found = await products.pricedSkus(skus.map(normaliseSku).filter((sku) => !skuProblem(sku)))
      return { variants: found.map(({ sku, productId, title, price }) => ({ sku, productId, title, price })) }
    },

    async upsertProduct(request) {
      if (!request.product) throw invalid('product', 'is required')
      const content = parseProduct(request.product)
      const category = content.categoryId === '' ? undefined : await findCategory(content.categoryId)
      if (content.categoryId !== '' && !category) throw invalid('categoryId', 'unknown category')
      const { product, created } = await products.upsert(content, idsOfPath(category?.path ?? ''))
      return { product: await toMessage(product), created }
    },

    async changePrice(request) {
      const sku = normaliseSku(request.sku)
      const price = parsePrice(request.price)
      if (skuProblem(sku)) throw skuNotFound()
      return { product: await toMessage(await products.changePrice(sku, price)) }
    },

    async listCategories() {
      return { categories: (await categories.all()).map(categoryMessage) }
    },

    async getCategory({ categoryId }) {
      const category = await findCategory(categoryId)
      if (!category) throw categoryNotFound()
      const children = await categories.children(category.id)
      return { category: categoryMessage(category), children: children.map(categoryMessage) }
    },

    async ensureCategory({ names }) {
      const path = categoriesOf(names)
      await categories.ensure(path)
      return { category: categoryMessage(path.at(-1)!) }
    },
  }
}

const categoryNotFound = () => notFound('category_not_found', 'unknown category')

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
