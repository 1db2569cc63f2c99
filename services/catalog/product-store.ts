import { isDeepStrictEqual } from 'node:util'
import * as z from 'zod'
import type { Batches, Draft, Work } from '#lib/batches.ts'
import type { Dapr, StateStore } from '#lib/dapr.ts'
import { AppError, exists, notFound, rejected } from '#lib/errors.ts'
import { groupsOf } from '#lib/groups.ts'
import { decodeAttributes, encodeAttributes, type Attributes } from './attributes.ts'
import { moneySchema, type Money } from './price.ts'
import {
  applyLevels,
  changeProduct,
  createProduct,
  etagOf,
  everywhere,
  idsOf,
  listsOf,
  matches,
  mayChange,
  moveProduct,
  newestKey,
  nextVersion,
  noLevel,
  productIdOf,
  replaceProduct,
  type Actor,
  type Creation,
  type Level,
  type ProductChange,
  type ProductContent,
  type StoredProduct,
} from './product.ts'
import type { CachedProduct, ProductCache } from './product-cache.ts'
import { productEvent, productJson } from './product-json.ts'
import { createSharedReads } from './shared-reads.ts'
import { skuKey } from './sku-key.ts'

/** Products that were stored before there were sellers' own have none. */
const storedSellerId = z.string().default('')

/** What an order needs to know about a variant, in a document of its own: many take one read. */
export type PricedSku = {
  sku: string
  productId: string
  sellerId: string
  title: string
  price: Money
  published: boolean
}
const pricedSku: z.ZodType<PricedSku> = z.object({
  sku: z.string(),
  productId: z.string(),
  sellerId: storedSellerId,
  title: z.string(),
  price: moneySchema,
  published: z.boolean(),
})

const levelSchema: z.ZodType<Level> = z.object({ available: z.number(), ordered: z.number(), version: z.number() })

/**
 * What is known about a SKU. While no product has it that is only what is in stock, which the
 * product takes over that gets it. So this one document puts in order who has a SKU and which
 * stock events reach whom.
 */
const storedSku = z.union([pricedSku, z.object({ sku: z.string(), level: levelSchema })])

/** A product as read back from the store. */
const storedProduct: z.ZodType<StoredProduct> = z.object({
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
      level: levelSchema,
    }),
  ),
  published: z.boolean(),
  sellerId: storedSellerId,
  categoryIds: z.array(z.string()),
  version: z.number(),
  edition: z.number(),
  createdAt: z.string(),
  updatedAt: z.string(),
  creation: z.object({ key: z.string(), fingerprint: z.string() }).optional(),
})

/** Stock changes with every order: those who follow only the content need not hear of it. */
export const availabilityTopic = 'product-availability'
/** So that an import does not stand before what sellers change and shoppers order. */
export const importsTopic = 'product-imports'
/** Of products that share a transaction. */
const groupLimits = { size: 256 * 1024, count: 100 }

const productKey = (id: string) => `product:{catalog}:${id}`
// Dapr prefixes keys with the app id.
const documentId = (id: string) => `catalog||${productKey(id)}`
const foundProducts = z.array(z.object({ value: storedProduct })).nullish()
const foundIds = z.array(z.object({ value: z.object({ id: z.string(), newest: z.string() }) })).nullish()

// The index that lists are read by has `listedIn` and `newest`. Nothing else has these fields, so
// nothing else is in it.
const toDocument = (product: StoredProduct) => ({
  ...product,
  attributes: encodeAttributes(product.attributes),
  listedIn: listsOf(product),
  newest: newestKey(product),
})

const pricedSkuOf = (product: StoredProduct, { sku, price }: { sku: string; price: Money }): PricedSku => ({
  sku,
  productId: product.id,
  sellerId: product.sellerId,
  title: product.title,
  price,
  published: product.published,
})

// A gRPC message through the sidecars has at most 4 MiB.
const maxPageBytes = 3 * 1024 * 1024

/** Which products to list, the newest first: at most `limit`, after this `newestKey`. */
export type Page = { list?: string; after?: string | undefined; limit: number }

/**
 * Returns the query for a page of a list. Any page is a range of the index on `value.listedIn` and
 * `value.newest`, in its order. Exported for its test.
 */
export const pageQuery = ({ list = everywhere, after, limit }: Page) =>
  ({
    filter: { 'value.listedIn': list, ...(after === undefined ? {} : { 'value.newest': { $gt: after } }) },
    sort: { 'value.newest': 1 },
    limit,
  }) as const

/** Who asks, and the If-Match of the request, empty for none. */
type Condition = { actor: Actor; ifMatch: string }

export type Written = { product: StoredProduct; outcome: 'created' | 'replaced' | 'unchanged' | 'replayed' }

export type ProductStore = ReturnType<typeof createProductStore>

/**
 * Creates the store of products and their SKUs. `binding` reaches `catalog-query`, which reads the
 * collection of `state`. Everything throws `unavailable` while the store is unavailable.
 */
export function createProductStore(deps: {
  state: StateStore
  batches: Batches
  binding: Dapr['binding']
  cache: ProductCache
  now: () => Date
}) {
  const { state, batches, binding, cache, now } = deps
  const readText = createSharedReads(state)

  /** Runs a query of at most `limit` documents; `full`: there may be more. */
  async function find<T>(
    schema: z.ZodType<{ value: T }[] | null | undefined>,
    query: { limit: number; [part: string]: unknown },
  ): Promise<{ values: T[]; full: boolean }> {
    const { limit } = query
    try {
      const found = schema.parse(await binding('catalog-query', 'find', { data: query })) ?? []
      return { values: found.map(({ value }) => value), full: found.length === limit }
    } catch (error) {
      // The response is too large: half as many fit. A page may be shorter than its limit.
      const cause = error instanceof AppError && error.cause instanceof Error ? error.cause.message : ''
      if (limit > 1 && /larger than max/.test(cause)) return find(schema, { ...query, limit: limit >> 1 })
      throw error
    }
  }

  const readProduct = (draft: Pick<Draft, 'get'>, id: string) => draft.get(productKey(id), storedProduct)

  /** Drafts a product with its SKUs and its events. Its SKUs must be free, or its own already. */
  function save(draft: Draft, before: StoredProduct | undefined, product: StoredProduct): void {
    write(draft, before, product)
    const data = productEvent(product)
    draft.publish({ type: 'products.product-upserted.v1', key: product.id, data, replacesEarlier: true })
  }

  /** The same without the event that says all about the product. */
  function write(draft: Draft, before: StoredProduct | undefined, product: StoredProduct): void {
    const { id } = product
    draft.put(productKey(id), toDocument(product))
    const old = new Map((before?.variants ?? []).map((variant) => [variant.sku, variant]))
    for (const variant of product.variants) {
      const former = old.get(variant.sku)
      const priced = pricedSkuOf(product, variant)
      // Nobody else writes a SKU that a product has: the product's etag guards it.
      if (!former || !before || !isDeepStrictEqual(pricedSkuOf(before, former), priced))
        draft.put(skuKey(variant.sku), priced)
      old.delete(variant.sku)
      if (former && !isDeepStrictEqual(former.price, variant.price)) {
        const data = { productId: id, sku: variant.sku, price: variant.price }
        draft.publish({ type: 'products.price-changed.v1', key: id, data })
      }
    }
    for (const { sku, level } of old.values()) releaseSku(draft, sku, level)
  }

  /** Publishes a product together with others. */
  const tell = (draft: Draft, topic: string, product: StoredProduct) =>
    draft.tell({
      type: 'products.products-changed.v1',
      topic,
      list: 'products',
      id: product.id,
      item: productEvent(product),
    })

  function releaseSku(draft: Draft, sku: string, level: Level): void {
    if (level.version === 0) draft.delete(skuKey(sku))
    else draft.put(skuKey(sku), { sku, level })
  }

  const keysOfContent = ({ handle, variants }: ProductContent) => [
    productKey(productIdOf(handle)),
    ...variants.map(({ sku }) => skuKey(sku)),
  ]

  type Replacement = {
    content: ProductContent
    /** Its category and all above. */
    categoryIds: string[]
    actor: Actor
    ifMatch?: string
    create?: { creation: Creation | undefined }
  }

  /** Decides about a product that is created or replaced; drafts nothing. */
  function decideReplacement(
    draft: Draft,
    { content, categoryIds, actor, ifMatch = '', create }: Replacement,
  ): Written & { before: StoredProduct | undefined } {
    const id = productIdOf(content.handle)
    const before = readProduct(draft, id)
    if (create) {
      const decision = createProduct(before, create.creation)
      if (decision.outcome === 'replayed') return { before, product: before!, outcome: 'replayed' }
      if (decision.outcome === 'rejected') throw cannotCreate(decision.reason)
    }
    if (before && !mayChange(actor, before)) throw notOwner()
    if (!matches(ifMatch, before)) throw productChanged()
    const levels = new Map<string, Level>()
    const fields = content.variants.flatMap(({ sku }, i) => {
      const known = draft.get(skuKey(sku), storedSku)
      if (known && 'level' in known) levels.set(sku, known.level)
      return known && 'productId' in known && known.productId !== id
        ? [{ field: `variants.${i}.sku`, message: 'must not be a SKU of another product' }]
        : []
    })
    if (fields.length > 0) throw new AppError('exists', 'sku_taken', 'another product has one of the SKUs', { fields })
    const decision = replaceProduct(before, content, {
      categoryIds,
      levelOf: (sku) => levels.get(sku) ?? noLevel,
      now: now(),
      sellerId: actor.isAdmin ? '' : actor.userId,
      creation: create?.creation,
    })
    if (decision.outcome === 'unchanged') return { before, product: before!, outcome: 'unchanged' }
    return { before, product: decision.product, outcome: before ? 'replaced' : 'created' }
  }

  /** The work that creates or replaces a product. */
  const replacement = (wanted: Replacement): Work<Written> => ({
    keys: keysOfContent(wanted.content),
    bytes: 3 * sizeOf(wanted.content),
    decide(draft): Written {
      const { before, ...written } = decideReplacement(draft, wanted)
      if (isChange(written)) save(draft, before, written.product)
      return written
    },
  })

  /** The work that creates or replaces many products, each for itself. */
  const replacements = (wanted: Replacement[]): Work<(Written | AppError)[]> => ({
    keys: [...new Set(wanted.flatMap(({ content }) => keysOfContent(content)))],
    bytes: wanted.reduce((sum, { content }) => sum + 3 * sizeOf(content), 0),
    decide(draft) {
      return wanted.map((each): Written | AppError => {
        try {
          const { before, ...written } = decideReplacement(draft, each)
          if (!isChange(written)) return written
          write(draft, before, written.product)
          tell(draft, importsTopic, written.product)
          return written
        } catch (error) {
          if (error instanceof AppError) return error
          throw error
        }
      })
    },
  })

  /**
   * Returns the product with this id or handle, as the draft has it. Throws `not_found`, also for
   * one that the user can neither change nor see; `forbidden` not_owner; `rejected`
   * product_changed.
   */
  function existing(draft: Draft, idOrHandle: string, { actor, ifMatch }: Condition): StoredProduct {
    const product = idsOf(idOrHandle)
      .map((id) => readProduct(draft, id))
      .find((each) => each !== undefined)
    if (!product || (!product.published && !mayChange(actor, product))) throw productNotFound()
    if (!mayChange(actor, product)) throw notOwner()
    if (!matches(ifMatch, product)) throw productChanged()
    return product
  }
  const keysOf = (idOrHandle: string) => idsOf(idOrHandle).map(productKey)

  async function commit(work: Work<Written>): Promise<Written> {
    const written = await batches.commit(work)
    if (written.outcome !== 'unchanged') cache.drop(written.product.id)
    return written
  }

  const read = async (id: string): Promise<CachedProduct | undefined> => {
    const text = await readText(productKey(id))
    return text === undefined ? undefined : asSent(storedProduct.parse(JSON.parse(text)))
  }

  return {
    /** Returns the product with this id or handle as it is sent, or undefined. */
    async get(idOrHandle: string): Promise<CachedProduct | undefined> {
      for (const id of idsOf(idOrHandle)) {
        const found = await cache.get(id, () => read(id))
        if (found) return found
      }
      return undefined
    },

    /** Returns the published products that have these SKUs, each once. */
    async withSkus(skus: string[]): Promise<StoredProduct[]> {
      const priced = await state.bulkGet(skus.map(skuKey), storedSku)
      const ids = [...priced.values()].flatMap(({ value }) =>
        'productId' in value && value.published ? [value.productId] : [],
      )
      const found = await state.bulkGet([...new Set(ids)].map(productKey), storedProduct)
      return [...found.values()].map(({ value }) => value).filter(({ published }) => published)
    },

    /**
     * Returns a page of a list, the newest first. A page of large products may be shorter than its
     * limit. `next`: others follow, after this `newestKey`.
     */
    async list(page: Page): Promise<{ products: StoredProduct[]; next: string | undefined }> {
      const query = pageQuery({ ...page, limit: page.limit + 1 })
      const { values, full } = await find(foundProducts, { ...query, projection: { value: 1 } })
      const products = thatFit(values.slice(0, page.limit))
      const last = products.at(-1)
      const isMore = full || products.length < values.length
      return { products, next: isMore && last ? newestKey(last) : undefined }
    },

    /** Returns the ids of a page of a list. */
    async idsInList(page: Page): Promise<{ ids: string[]; next: string | undefined }> {
      const projection = { 'value.id': 1, 'value.newest': 1 }
      const { values, full } = await find(foundIds, { ...pageQuery(page), projection })
      return { ids: values.map(({ id }) => id), next: full ? values.at(-1)?.newest : undefined }
    },

    /**
     * Returns a page of all products, by id. A page of large products may be shorter than its
     * limit.
     */
    async scan(afterId: string, limit: number): Promise<{ products: StoredProduct[]; isLast: boolean }> {
      const query = {
        filter: { _id: { $gt: documentId(afterId), $lt: documentId('q') } },
        sort: { _id: 1 },
        limit,
        projection: { value: 1 },
      }
      const { values, full } = await find(foundProducts, query)
      const products = thatFit(values)
      return { products, isLast: !full && products.length === values.length }
    },

    /**
     * Returns the current prices of SKUs, in one read. SKUs that are unknown or not published are
     * left out.
     */
    async pricedSkus(skus: string[]): Promise<PricedSku[]> {
      const documents = await state.bulkGet([...new Set(skus)].map(skuKey), storedSku)
      return [...documents.values()].flatMap(({ value }) => ('price' in value && value.published ? [value] : []))
    },

    /** Throws `forbidden` not_owner unless the user may change the products of all these SKUs. */
    async checkOwner(skus: string[], actor: Actor): Promise<void> {
      if (actor.isAdmin) return
      const found = await state.bulkGet([...new Set(skus)].map(skuKey), storedSku)
      const isOwn = (sku: string) => {
        const known = found.get(skuKey(sku))?.value
        return known !== undefined && 'sellerId' in known && mayChange(actor, known)
      }
      if (!skus.every(isOwn)) throw notOwner()
    },

    /**
     * Creates a product, or returns the one that the same request has created (`replayed`). Throws
     * `exists` sku_taken or handle_taken, `rejected` idempotency_key_reused. `categoryIds` are its
     * category and all above.
     */
    create: (
      content: ProductContent,
      { creation, ...wanted }: { categoryIds: string[]; actor: Actor; creation: Creation | undefined },
    ): Promise<Written> => commit(replacement({ content, ...wanted, create: { creation } })),

    /**
     * Creates or replaces the product with the content's handle. Writes nothing if nothing changes.
     * Throws `exists` sku_taken, `forbidden` not_owner, `rejected` product_changed.
     */
    replace: (content: ProductContent, wanted: Condition & { categoryIds: string[] }): Promise<Written> =>
      commit(replacement({ content, ...wanted })),

    /**
     * Creates or replaces many products, each for itself, and says for each what became of it, or
     * why it was refused. Of two with one handle the later one counts.
     */
    async replaceMany(
      wanted: { content: ProductContent; categoryIds: string[] }[],
      actor: Actor,
    ): Promise<(Written | AppError)[]> {
      const all = wanted.map((each) => ({ ...each, actor }))
      const groups = groupsOf(all, { ...groupLimits, sizeOf: ({ content }) => sizeOf(content) })
      const results = await Promise.all(groups.map((group) => batches.commit(replacements(group))))
      for (const each of results.flat()) if (!(each instanceof AppError) && isChange(each)) cache.drop(each.product.id)
      return results.flat()
    },

    /**
     * Changes parts of a product as it is when the change commits. `categoryIds` belong to the
     * change's category. Throws `not_found`, `forbidden` not_owner, `rejected` sku_not_found or
     * product_changed.
     */
    change: (
      idOrHandle: string,
      change: ProductChange,
      { categoryIds, ...condition }: Condition & { categoryIds: string[] | undefined },
    ): Promise<Written> =>
      commit({
        keys: keysOf(idOrHandle),
        decide(draft) {
          const before = existing(draft, idOrHandle, condition)
          const decision = changeProduct(before, change, { categoryIds, now: now() })
          if (decision.outcome === 'unchanged') return { product: before, outcome: 'unchanged' }
          save(draft, before, decision.product)
          return { product: decision.product, outcome: 'replaced' }
        },
      }),

    /**
     * Puts a product, whose category has moved, into the lists of `categoryIdsOf` its category;
     * does nothing if that is undefined, or if there is no such product.
     */
    async move(id: string, categoryIdsOf: (categoryId: string) => string[] | undefined): Promise<void> {
      await batches.commit({
        keys: [productKey(id)],
        decide(draft) {
          const before = readProduct(draft, id)
          const categoryIds = before && categoryIdsOf(before.categoryId)
          if (!before || !categoryIds) return
          const decision = moveProduct(before, categoryIds, now())
          if (decision.outcome === 'changed') save(draft, before, decision.product)
        },
      })
      cache.drop(id)
    },

    /** Removes a product. Throws `not_found`, `forbidden` not_owner, `rejected` product_changed. */
    async remove(idOrHandle: string, condition: Condition): Promise<void> {
      const id = await batches.commit({
        keys: keysOf(idOrHandle),
        decide(draft) {
          const product = existing(draft, idOrHandle, condition)
          const { id } = product
          draft.delete(productKey(id))
          for (const { sku, level } of product.variants) releaseSku(draft, sku, level)
          const data = { productId: id, version: nextVersion(product.version, now()) }
          draft.publish({ type: 'products.product-deleted.v1', key: id, data })
          return id
        },
      })
      cache.drop(id)
    },

    /** The keys to read for `applyLevels`, and with what they hold those to read after them. */
    levelKeys: (skus: string[]) => skus.map(skuKey),
    moreLevelKeys: (known: Pick<Draft, 'get'>, skus: string[]): string[] =>
      skus.flatMap((sku) => {
        const found = known.get(skuKey(sku), storedSku)
        return found && 'productId' in found ? [productKey(found.productId)] : []
      }),

    /**
     * Drafts the levels that are newer than the known ones: in their products, which are published
     * on `topic`, or by SKU for a later product. Returns what to do after the commit.
     */
    applyLevels(draft: Draft, levels: (Level & { sku: string })[], topic: string): () => void {
      const byProduct = new Map<string, Map<string, Level>>()
      const keepForLater = (sku: string, level: Level) => {
        const known = draft.get(skuKey(sku), storedSku)
        const before = known && 'level' in known ? known.level : noLevel
        if (before.version < level.version) draft.put(skuKey(sku), { sku, level })
      }
      for (const { sku, ...level } of levels) {
        const known = draft.get(skuKey(sku), storedSku)
        if (known && 'productId' in known) {
          const ofProduct = byProduct.get(known.productId) ?? new Map<string, Level>()
          byProduct.set(known.productId, ofProduct.set(sku, level))
        } else keepForLater(sku, level)
      }
      for (const [id, ofProduct] of byProduct) {
        const before = readProduct(draft, id)
        // It has lost the SKU between the two reads: the commit fails, and both are read again.
        for (const [sku, level] of ofProduct)
          if (!before?.variants.some((variant) => variant.sku === sku)) keepForLater(sku, level)
        const decision = before && applyLevels(before, ofProduct, now())
        if (decision?.outcome !== 'changed') continue
        draft.put(productKey(id), toDocument(decision.product))
        tell(draft, topic, decision.product)
      }
      return () => {
        for (const id of byProduct.keys()) cache.drop(id)
      }
    },
  }
}

/** Returns a product as it is sent. */
export const asSent = (product: StoredProduct): CachedProduct => ({
  json: productJson(product),
  etag: etagOf(product),
  published: product.published,
  sellerId: product.sellerId,
})

const sizeOf = (content: ProductContent) => content.description.length + JSON.stringify(content.attributes).length + 500

const isChange = ({ outcome }: Written) => outcome === 'created' || outcome === 'replaced'

const bytesOf = (event: object) => Buffer.byteLength(JSON.stringify(event))

/** The first products, as many as fit into a message. */
function thatFit(products: StoredProduct[]): StoredProduct[] {
  let bytes = 0
  return products.filter((p, i) => (bytes += bytesOf(productEvent(p))) <= maxPageBytes || i === 0)
}

const productChanged = () =>
  rejected('product_changed', 'the product is not the one that If-Match names', [
    { field: 'If-Match', message: 'is not the ETag of the product' },
  ])

const cannotCreate = (reason: 'handle_taken' | 'idempotency_key_reused') =>
  reason === 'handle_taken'
    ? exists('handle_taken', 'another product uses this handle')
    : rejected('idempotency_key_reused', 'this Idempotency-Key was used for a different product', [
        { field: 'Idempotency-Key', message: 'was used for a different request' },
      ])

const notOwner = () => new AppError('forbidden', 'not_owner', "it is another seller's product")

export const productNotFound = () => notFound('product_not_found', 'unknown product')
