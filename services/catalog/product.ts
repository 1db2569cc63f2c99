import { isDeepStrictEqual } from 'node:util'
import { hashName } from '#lib/hash-name.ts'
import type { Attributes } from './attributes.ts'
import type { Money } from './price.ts'

// What a product is and how it changes. No I/O.

export type Variant = { sku: string; options: { name: string; value: string }[]; price: Money }

/** What a seller says about a product, checked and normalised. */
export type ProductContent = {
  handle: string
  title: string
  /** Sanitised HTML. */
  description: string
  vendor: string
  /** Empty: no category. */
  categoryId: string
  images: string[]
  attributes: Attributes
  variants: Variant[]
  published: boolean
}

/** A product as stored. */
export type StoredProduct = ProductContent & {
  id: string
  /** The lists that show it: `everywhere`, its category and all above; empty if not published. */
  listedIn: string[]
  /** RFC 3339 */
  updatedAt: string
}

/** What is decided about a change of a product. */
export type Decision = { outcome: 'changed'; product: StoredProduct } | { outcome: 'unchanged' }

const unchanged: Decision = { outcome: 'unchanged' }

/** The list of all published products. */
export const everywhere = 'all'

export const maxHandleLength = 255
const handlePattern = /^[a-z0-9]+(-[a-z0-9]+)*$/
const productIdPattern = /^p-[a-z2-7]{26}$/

export const isProductId = (text: string) => productIdPattern.test(text)
export const isHandle = (text: string) => text.length <= maxHandleLength && handlePattern.test(text)

/**
 * Returns the id of the product with this handle. It depends on nothing else, so creating a product
 * twice makes one.
 */
export const productIdOf = (handle: string) => `p-${hashName(handle, 26)}`

/**
 * Decides about replacing `before` (undefined: there is no such product). `categoryIds` are the
 * product's category and all above.
 */
export function replaceProduct(
  before: StoredProduct | undefined,
  content: ProductContent,
  categoryIds: string[],
  now: Date,
): Decision {
  const product: StoredProduct = {
    ...content,
    id: productIdOf(content.handle),
    listedIn: content.published ? [everywhere, ...categoryIds] : [],
    updatedAt: now.toISOString(),
  }
  const sameContent =
    before && isDeepStrictEqual(comparable(before), comparable({ ...product, updatedAt: before.updatedAt }))
  return sameContent ? unchanged : { outcome: 'changed', product }
}

/** As JSON, since that is how it was stored (-0 becomes 0), and with options as a set. */
const comparable = (product: StoredProduct): unknown =>
  JSON.parse(
    JSON.stringify({
      ...product,
      variants: product.variants.map((variant) => ({
        ...variant,
        options: Object.fromEntries(variant.options.map(({ name, value }) => [name, value])),
      })),
    }),
  )

/** Decides about a new price of one variant. Unchanged also if the product has no such SKU. */
export function changePrice(before: StoredProduct, sku: string, price: Money, now: Date): Decision {
  const variant = before.variants.find((v) => v.sku === sku)
  if (!variant || isDeepStrictEqual(variant.price, price)) return unchanged
  const variants = before.variants.map((v) => (v === variant ? { ...v, price } : v))
  return { outcome: 'changed', product: { ...before, variants, updatedAt: now.toISOString() } }
}
