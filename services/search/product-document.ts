import * as z from 'zod'
import { attributeTerms } from './attribute-fields.ts'
import { foldText, textOfHtml } from './folding.ts'

// A product as an event says it, and as the index holds it. No I/O.

/** The data of products.product-upserted.v1; products.products-changed.v1 has a list of them. */
export const productEvent = z.object({
  productId: z.string().min(1).max(100),
  version: z.int().min(1),
  handle: z.string(),
  title: z.string(),
  description: z.string(),
  vendor: z.string(),
  categoryId: z.string(),
  categoryIds: z.array(z.string()),
  images: z.array(z.string()),
  attributes: z.record(z.string(), z.unknown()),
  variants: z.array(
    z.object({
      sku: z.string(),
      options: z.record(z.string(), z.string()),
      price: z.object({ amount: z.int(), currency: z.string() }),
      available: z.int(),
    }),
  ),
  available: z.int(),
  popularity: z.int(),
  published: z.boolean(),
  createdAt: z.iso.datetime(),
  updatedAt: z.iso.datetime(),
})
export type ProductEvent = z.infer<typeof productEvent>

/** A change of the index: what holds of a product from this version on. */
export type Change = {
  id: string
  version: number
  /** Undefined: shoppers must not see it. */
  document: ProductDocument | undefined
}

export type ProductDocument = ReturnType<typeof productDocument>

/** Names are compared by this many characters. */
const maxNameLength = 100
/** Of a description. The rest is not searched. */
const maxWordsLength = 20_000

export const changeOf = (product: ProductEvent): Change => ({
  id: product.productId,
  version: product.version,
  document: product.published ? productDocument(product) : undefined,
})

/** What products are sorted by when they are sorted by name. */
export const nameKey = (title: string): string =>
  [...title.normalize('NFKD').replaceAll(/\p{M}/gu, '').toLowerCase().normalize('NFC').trim()]
    .slice(0, maxNameLength)
    .join('')

/** The price that products are filtered and sorted by: that of the cheapest variant. */
export const cheapest = (product: Pick<ProductEvent, 'variants'>): number =>
  product.variants.reduce((least, { price }) => Math.min(least, price.amount), Number.MAX_SAFE_INTEGER)

function productDocument(product: ProductEvent) {
  const { title, vendor, attributes, variants } = product
  const words = [
    title,
    vendor,
    ...wordsOf(attributes),
    ...variants.flatMap((v) => [v.sku, ...Object.values(v.options)]),
  ]
  return {
    json: productJson(product),
    handle: product.handle,
    id: product.productId,
    created: Date.parse(product.createdAt),
    price: cheapest(product),
    popularity: product.popularity,
    name: nameKey(title),
    inStock: product.available > 0,
    vendor,
    categories: product.categoryIds,
    ...attributeTerms(attributes, variants),
    title,
    words: [...new Set(words), textOfHtml(product.description).slice(0, maxWordsLength)],
    letters: foldText([...new Set(words)].join('\n')),
    completion: foldText(title),
  }
}

/** Returns a product as the API shows it, as JSON: what catalog makes of the same product. */
function productJson(product: ProductEvent): string {
  const { productId, handle, title, description, vendor, categoryId, images, attributes, variants } = product
  const { available, published, createdAt, updatedAt } = product
  return JSON.stringify({
    id: productId,
    handle,
    title,
    description,
    vendor,
    categoryId,
    images,
    attributes,
    variants,
    available,
    published,
    createdAt,
    updatedAt,
  })
}

/** Returns all texts in an attribute's value, however deep. */
function wordsOf(value: unknown): string[] {
  if (typeof value === 'string') return [value]
  return typeof value === 'object' && value !== null ? Object.values(value).flatMap(wordsOf) : []
}
