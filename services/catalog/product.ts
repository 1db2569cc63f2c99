import { isDeepStrictEqual } from 'node:util'
import { invalidFields, rejected } from '#lib/errors.ts'
import { hashName } from '#lib/hash-name.ts'
import type { Attributes } from './attributes.ts'
import type { Money } from './price.ts'

// What a product is and how it changes. No I/O.

export type Option = { name: string; value: string }
export type Variant = { sku: string; options: Option[]; price: Money }

/**
 * Of a SKU: the units for sale and those ordered so far, at a version of its stock. Versions of a
 * SKU only grow; 0: nothing is known yet.
 */
export type Level = { available: number; ordered: number; version: number }
export const noLevel: Level = { available: 0, ordered: 0, version: 0 }

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

/** Parts of a product to change, checked and normalised. Variants are changed, not replaced. */
export type ProductChange = Partial<Omit<ProductContent, 'handle' | 'variants'>> & {
  variants?: { sku: string; options?: Option[]; price?: Money }[]
}

/** Who asks for a change. */
export type Actor = { userId: string; isAdmin: boolean }

/** A product as stored, with what its variants have in stock. */
export type StoredProduct = Omit<ProductContent, 'variants'> & {
  id: string
  variants: (Variant & { level: Level })[]
  /** The account of its seller; empty: no seller's, but the shop's own. */
  sellerId: string
  /** Its category and all above. */
  categoryIds: string[]
  /** Grows with every change, stock included; also when a product is removed and created again. */
  version: number
  /** The version at which its content last changed. */
  edition: number
  /** RFC 3339 */
  createdAt: string
  /** When its content last changed, RFC 3339. */
  updatedAt: string
  /** Of the request that created it: its key, and what it said, both hashed. */
  creation?: Creation | undefined
}

export type Creation = { key: string; fingerprint: string }

/** What is decided about a change of a product. */
export type Decision = { outcome: 'changed'; product: StoredProduct } | { outcome: 'unchanged' }

/** What is decided about a product that must be new. */
export type CreationDecision =
  | { outcome: 'new' }
  | { outcome: 'replayed' }
  | { outcome: 'rejected'; reason: 'handle_taken' | 'idempotency_key_reused' }

const unchanged: Decision = { outcome: 'unchanged' }

/** The list of all published products. */
export const everywhere = 'all'
/** The list of the products of another list that are not published. */
export const hiddenIn = (list: string) => `hidden:${list}`

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

/** Returns the ids that a product with this id or handle may have: some handles look like ids. */
export const idsOf = (idOrHandle: string): string[] => [
  ...(isProductId(idOrHandle) ? [idOrHandle] : []),
  ...(isHandle(idOrHandle) ? [productIdOf(idOrHandle)] : []),
]

/** Whether a user may change what is of this seller: sellers their own, admins all. */
export const mayChange = ({ userId, isAdmin }: Actor, { sellerId }: { sellerId: string }) =>
  isAdmin || sellerId === userId

/** The lists that show a product, or that it would be in if it were published. */
export function listsOf({ published, categoryIds }: Pick<StoredProduct, 'published' | 'categoryIds'>): string[] {
  const lists = [everywhere, ...categoryIds]
  return published ? lists : lists.map(hiddenIn)
}

/** A text by which products sort, the newest first: no two are equal. */
export const newestKey = ({ createdAt, id }: Pick<StoredProduct, 'createdAt' | 'id'>): string =>
  `${String(endOfTime - Date.parse(createdAt)).padStart(13, '0')}:${id}`
const endOfTime = 10 ** 13 - 1

/**
 * The next version after `before` (undefined: there was none that is known). Because it follows the
 * clock, it also exceeds those of a product that was removed.
 */
export const nextVersion = (before: number | undefined, now: Date) => Math.max((before ?? 0) + 1, now.getTime())

/** A strong ETag: it changes with everything that a product shows. */
export const etagOf = ({ edition, version }: Pick<StoredProduct, 'edition' | 'version'>) => `"${edition}.${version}"`

/**
 * Whether a product may be changed under this If-Match: empty, `*` or ETags. What is in stock does
 * not count, only the content. A weak ETag is accepted: the edge makes strong ones weak when it
 * compresses a response.
 */
export function matches(ifMatch: string, product: StoredProduct | undefined): boolean {
  if (ifMatch === '') return true
  if (!product) return false
  if (ifMatch.trim() === '*') return true
  const etags = ifMatch.split(',').map((each) => /^(?:W\/)?"(\d+)\.\d+"$/.exec(each.trim())?.[1])
  return etags.includes(String(product.edition))
}

/**
 * Decides about replacing `before` (undefined: there is no such product). `categoryIds` are its
 * category and all above, `levelOf` tells the stock of a SKU that is new in it, and `sellerId` and
 * `creation` are kept with a new product.
 */
export function replaceProduct(
  before: StoredProduct | undefined,
  content: ProductContent,
  {
    categoryIds,
    levelOf,
    now,
    sellerId,
    creation,
  }: {
    categoryIds: string[]
    levelOf: (sku: string) => Level
    now: Date
    sellerId: string
    creation?: Creation | undefined
  },
): Decision {
  if (before && isDeepStrictEqual(comparable(before), comparable({ ...content, categoryIds }))) return unchanged
  const levels = new Map(before?.variants.map(({ sku, level }) => [sku, level]))
  const version = nextVersion(before?.version, now)
  return {
    outcome: 'changed',
    product: {
      ...content,
      variants: content.variants.map((variant) => ({
        ...variant,
        level: levels.get(variant.sku) ?? levelOf(variant.sku),
      })),
      id: productIdOf(content.handle),
      sellerId: before?.sellerId ?? sellerId,
      categoryIds,
      version,
      edition: version,
      createdAt: before?.createdAt ?? now.toISOString(),
      updatedAt: now.toISOString(),
      creation: before ? before.creation : creation,
    },
  }
}

/**
 * Decides about changing parts of a product. `categoryIds` belong to the change's category. Throws
 * `rejected` sku_not_found, and `invalid` if two variants would have the same options.
 */
export function changeProduct(
  before: StoredProduct,
  { variants = [], ...rest }: ProductChange,
  { categoryIds, now }: { categoryIds: string[] | undefined; now: Date },
): Decision {
  const changes = new Map(variants.map((change) => [change.sku, change]))
  const unknown = variants.findIndex(({ sku }) => !before.variants.some((v) => v.sku === sku))
  if (unknown !== -1)
    throw rejected('sku_not_found', 'the product has no such variant', [
      { field: `variants.${unknown}.sku`, message: 'unknown SKU' },
    ])
  const content: ProductContent = {
    ...before,
    ...rest,
    variants: before.variants.map(({ sku, options, price }) => ({
      sku,
      options: changes.get(sku)?.options ?? options,
      price: changes.get(sku)?.price ?? price,
    })),
  }
  const taken = new Map<string, string>()
  for (const { sku, options } of content.variants) {
    const combination = combinationOf(options)
    const other = taken.get(combination)
    taken.set(combination, sku)
    const at = variants.findIndex((change) => change.sku === sku || change.sku === other)
    if (other !== undefined && at !== -1)
      throw invalidFields([
        { field: `variants.${at}.options`, message: 'must differ from those of the other variants' },
      ])
  }
  return replaceProduct(before, contentOf(content), {
    categoryIds: categoryIds ?? before.categoryIds,
    levelOf: () => noLevel,
    now,
    sellerId: before.sellerId,
  })
}

/** Variants with the same options are equal, in whatever order these are given. */
export const combinationOf = (options: Option[]): string =>
  JSON.stringify(options.map(({ name, value }) => [name, value]).sort(([a], [b]) => (a! < b! ? -1 : 1)))

const contentOf = (content: ProductContent): ProductContent => ({
  handle: content.handle,
  title: content.title,
  description: content.description,
  vendor: content.vendor,
  categoryId: content.categoryId,
  images: content.images,
  attributes: content.attributes,
  variants: content.variants,
  published: content.published,
})

/**
 * Decides about new stock levels of some SKUs. Those that are not newer change nothing, so events
 * may arrive twice and in any order.
 */
export function applyLevels(before: StoredProduct, levels: ReadonlyMap<string, Level>, now: Date): Decision {
  let isNewer = false
  const variants = before.variants.map((variant) => {
    const level = levels.get(variant.sku)
    if (!level || level.version <= variant.level.version) return variant
    isNewer = true
    return { ...variant, level }
  })
  if (!isNewer) return unchanged
  return { outcome: 'changed', product: { ...before, variants, version: nextVersion(before.version, now) } }
}

/** Decides about a product whose category has moved: `categoryIds` are it and all above. */
export function moveProduct(before: StoredProduct, categoryIds: string[], now: Date): Decision {
  if (isDeepStrictEqual(before.categoryIds, categoryIds)) return unchanged
  return { outcome: 'changed', product: { ...before, categoryIds, version: nextVersion(before.version, now) } }
}

/**
 * Returns what is kept of a request that creates a product. A key is one caller's own; a request
 * without a key is never repeated.
 */
export const creationOf = (userId: string, idempotencyKey: string, content: ProductContent): Creation | undefined =>
  idempotencyKey === ''
    ? undefined
    : { key: hashName(`${userId}\0${idempotencyKey}`, 26), fingerprint: hashName(JSON.stringify(content), 26) }

/** Decides about creating a product where there may be one already. */
export function createProduct(before: StoredProduct | undefined, creation: Creation | undefined): CreationDecision {
  if (!before) return { outcome: 'new' }
  if (!creation || before.creation?.key !== creation.key) return { outcome: 'rejected', reason: 'handle_taken' }
  return before.creation.fingerprint === creation.fingerprint
    ? { outcome: 'replayed' }
    : { outcome: 'rejected', reason: 'idempotency_key_reused' }
}

/** As JSON, since that is how it was stored (-0 becomes 0), and with options as a set. */
const comparable = (product: ProductContent & { categoryIds: string[] }): unknown =>
  JSON.parse(
    JSON.stringify({
      ...contentOf(product),
      categoryIds: product.categoryIds,
      variants: product.variants.map(({ sku, options, price }) => ({
        sku,
        price,
        options: Object.fromEntries(options.map(({ name, value }) => [name, value])),
      })),
    }),
  )
