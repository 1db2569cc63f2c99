import * as z from 'zod'
import { AppError, exists, notFound, rejected } from '#lib/errors.ts'
import type { CallOptions } from '#lib/dapr.ts'
import type { Product, Variant } from '#protos/shop/catalog/v1/catalog.ts'
import type { Clients } from '../clients.ts'
import { isStaff, operation } from '../http/operation.ts'
import {
  characters,
  list,
  money,
  moneyOut,
  pageOf,
  paging,
  renameFields,
  sku,
  text,
  time,
  toMoney,
  toPage,
} from '../http/schemas.ts'

const handle = characters(1, 255)
  .regex(/^[a-z0-9]+(-[a-z0-9]+)*$/, 'must be lower-case letters, digits and single hyphens')
  .meta({ description: 'Identifies the product in URLs; never changes.', examples: ['clay-plant-pot'] })

const attributes = z
  .record(text(1, 100), z.unknown())
  .refine((a) => Object.keys(a).length <= 200, 'must have at most 200 entries')
  .meta({ description: 'Free-form.', examples: [{ material: 'clay', tags: ['Pot', 'Plants'] }] })

const options = z
  .record(text(1, 100), text(1, 255))
  .refine((o) => Object.keys(o).length <= 5, 'must have at most 5 entries')
  .meta({ examples: [{ Size: 'Large' }] })

const fields = {
  title: text(1, 255).meta({ examples: ['Clay Plant Pot'] }),
  description: characters(0, 65_536).meta({
    description: 'HTML, sanitised before it is stored.',
    examples: ['<p>Classic blown clay pot for plants</p>'],
  }),
  vendor: text(0, 255).meta({ examples: ['Company 123'] }),
  categoryId: text(0, 100).meta({ examples: ['c-mzxw6ytboi'] }),
  images: z
    .array(z.url({ protocol: /^https?$/, error: 'must be an http or https URL' }).max(2_048))
    .max(50)
    .meta({ examples: [['https://images.example/pot.jpg']] }),
  attributes,
  published: z.boolean().meta({ description: 'Whether shoppers can see it.' }),
}

const uniqueSkus = (variants: { sku: string }[], context: z.core.$RefinementCtx) => {
  const seen = new Set<string>()
  for (const [i, { sku }] of variants.entries()) {
    if (seen.has(sku))
      context.addIssue({ code: 'custom', path: [i, 'sku'], message: 'must not be repeated', input: undefined })
    seen.add(sku)
  }
}

const variants = list(z.strictObject({ sku, options: options.default({}), price: money }), 1, 100).superRefine(
  uniqueSkus,
)

/** A whole product as a seller writes it, without its handle. */
const productInput = {
  title: fields.title,
  description: fields.description.default(''),
  vendor: fields.vendor.default(''),
  categoryId: fields.categoryId.default(''),
  images: fields.images.default([]),
  attributes: fields.attributes.default({}),
  published: fields.published.default(true),
  variants,
}
const replacement = z.strictObject(productInput).meta({ id: 'ProductReplacement' })
const creation = z.strictObject({ handle, ...productInput }).meta({ id: 'ProductCreation' })

const change = z
  .strictObject({
    ...fields,
    variants: list(z.strictObject({ sku, options: options.optional(), price: money.optional() }), 1, 100)
      .superRefine(uniqueSkus)
      .meta({ description: 'Changes the variants with these SKUs; all others stay as they are.' }),
  })
  .partial()
  .refine((body) => Object.keys(body).length > 0, 'must change at least one field')
  .meta({
    id: 'ProductChange',
    examples: [{ variants: [{ sku: 'clay-plant-pot-large', price: { amount: 1499, currency: 'USD' } }] }],
  })

const product = z
  .object({
    id: z.string().meta({ examples: ['p-mzxw6ytboi4gk3dfmnzgs43tmu'] }),
    handle: z.string().meta({ examples: ['clay-plant-pot'] }),
    title: z.string().meta({ examples: ['Clay Plant Pot'] }),
    description: z
      .string()
      .meta({ description: 'Sanitised HTML.', examples: ['<p>Classic blown clay pot for plants</p>'] }),
    vendor: z.string().meta({ examples: ['Company 123'] }),
    categoryId: z.string().meta({ examples: ['c-mzxw6ytboi'] }),
    images: z.array(z.string()).meta({ examples: [['https://images.example/pot.jpg']] }),
    attributes: z.record(z.string(), z.unknown()).meta({ examples: [{ material: 'clay' }] }),
    variants: z.array(
      z.object({
        sku: z.string().meta({ examples: ['clay-plant-pot-large'] }),
        options: z.record(z.string(), z.string()).meta({ examples: [{ Size: 'Large' }] }),
        price: moneyOut,
        available: z.int().meta({ description: 'Units for sale, accurate to within two seconds.', examples: [3] }),
      }),
    ),
    published: z.boolean(),
    updatedAt: time,
  })
  .meta({ id: 'Product' })

const toProduct = (p: Product): z.infer<typeof product> => ({
  id: p.id,
  handle: p.handle,
  title: p.title,
  description: p.description,
  vendor: p.vendor,
  categoryId: p.categoryId,
  images: p.images,
  attributes: p.attributes ?? {},
  variants: p.variants.map(({ sku, options, price, available }) => ({
    sku,
    options,
    price: toMoney(price),
    available,
  })),
  published: p.published,
  updatedAt: p.updatedAt,
})

const toMessage = (handle: string, p: z.infer<typeof replacement>): Product => ({
  ...p,
  handle,
  id: '',
  updatedAt: '',
  variants: p.variants.map((v) => ({ ...v, available: 0 })),
})

const locationOf = (p: Product) => ({ Location: `/v1/products/${encodeURIComponent(p.handle)}` })

const productId = z.object({
  productId: text(1, 255).meta({ description: 'The id or the handle.', examples: ['clay-plant-pot'] }),
})

/**
 * Returns the product with the change applied. Throws `sku_not_found` with the first SKU that is
 * not a variant of the product.
 */
function applyChange(current: Product, { variants, ...rest }: z.infer<typeof change>): Product {
  const unknown = variants?.findIndex(({ sku }) => !current.variants.some((v) => v.sku === sku)) ?? -1
  if (unknown !== -1)
    throw rejected('sku_not_found', 'The product has no such variant', [
      { field: `variants.${unknown}.sku`, message: 'unknown SKU' },
    ])
  const defined = Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== undefined))
  return {
    ...current,
    ...defined,
    variants: current.variants.map((v): Variant => {
      const changed = variants?.find(({ sku }) => sku === v.sku)
      return changed ? { ...v, options: changed.options ?? v.options, price: changed.price ?? v.price } : v
    }),
  }
}

export const products = ({ catalog }: Clients) => {
  const find = async (idOrHandle: string, call: CallOptions): Promise<Product> =>
    (await catalog.getProduct({ idOrHandle }, call)).product!

  return [
    operation({
      id: 'listProducts',
      method: 'get',
      path: '/v1/products',
      tag: 'Catalogue',
      access: 'public',
      summary: 'Published products',
      query: z.strictObject({
        category: text(1, 100).optional().meta({ description: 'Only products of this category and its descendants.' }),
        ...paging,
      }),
      notFoundField: 'category',
      responses: { 200: { description: 'A page of products', schema: pageOf(product) } },
      problems: ['bad_cursor', 'category_not_found'],
      async handle({ query, call }) {
        const { products, nextCursor } = await catalog.listProducts(
          { categoryId: query.category ?? '', limit: query.limit, cursor: query.cursor ?? '' },
          call,
        )
        return { status: 200, body: toPage(products.map(toProduct), nextCursor) }
      },
    }),
    operation({
      id: 'getProduct',
      method: 'get',
      path: '/v1/products/{productId}',
      tag: 'Catalogue',
      access: 'optional',
      summary: 'A product',
      description: 'Sellers and admins also get unpublished products.',
      params: productId,
      responses: { 200: { description: 'The product', schema: product } },
      problems: ['product_not_found'],
      async handle({ params, user, call }) {
        const found = await find(params.productId, call)
        if (!found.published && !isStaff(user)) throw notFound('product_not_found', 'Unknown product')
        return {
          status: 200,
          body: toProduct(found),
          headers: { 'Cache-Control': user ? 'private, no-store' : 'no-cache', Vary: 'Authorization' },
        }
      },
    }),
    operation({
      id: 'createProduct',
      method: 'post',
      path: '/v1/products',
      tag: 'Catalogue',
      access: 'staff',
      summary: 'Create a product',
      body: creation,
      responses: {
        201: { description: 'The product', schema: product, headers: { Location: 'The path of the product' } },
      },
      problems: ['handle_taken', 'sku_taken', 'category_not_found'],
      async handle({ body: { handle, ...body }, call }) {
        // Catalog only upserts: of two requests that create a handle at the same time, the second
        // one replaces the product of the first, as with PUT.
        const taken = await find(handle, call).then(
          () => true,
          (error) => {
            if (error instanceof AppError && error.kind === 'not_found') return false
            throw error
          },
        )
        if (taken) throw exists('handle_taken', 'Another product uses this handle; PUT replaces it')
        const { product } = await catalog.upsertProduct({ product: toMessage(handle, body) }, call)
        return { status: 201, body: toProduct(product!), headers: locationOf(product!) }
      },
    }),
    operation({
      id: 'putProduct',
      method: 'put',
      path: '/v1/products/{productId}',
      tag: 'Catalogue',
      access: 'staff',
      summary: 'Create or replace the product with this handle',
      description: 'Idempotent. Does not change stock.',
      params: z.object({ productId: handle }),
      body: replacement,
      responses: {
        200: { description: 'Replaced', schema: product },
        201: { description: 'Created', schema: product, headers: { Location: 'The path of the product' } },
      },
      problems: ['sku_taken', 'category_not_found'],
      async handle({ params, body, call }) {
        const { product, created } = await catalog.upsertProduct({ product: toMessage(params.productId, body) }, call)
        return { status: created ? 201 : 200, body: toProduct(product!), headers: created ? locationOf(product!) : {} }
      },
    }),
    operation({
      id: 'changeProduct',
      method: 'patch',
      path: '/v1/products/{productId}',
      tag: 'Catalogue',
      access: 'staff',
      summary: 'Change some fields or prices of a product',
      params: productId,
      body: change,
      responses: { 200: { description: 'The changed product', schema: product } },
      problems: ['product_not_found', 'sku_not_found', 'category_not_found'],
      async handle({ params, body, call }) {
        const current = await find(params.productId, call)
        const changed = applyChange(current, body)
        // A single price, the most common change, is not written from the product read above, so it
        // cannot undo a concurrent change.
        const [only] = body.variants ?? []
        if (only?.price && !only.options && body.variants?.length === 1 && Object.keys(body).length === 1) {
          const { product } = await renameFields(
            catalog.changePrice({ sku: only.sku, price: only.price }, call),
            (field) => `variants.0.${field}`,
          )
          return { status: 200, body: toProduct(product!) }
        }
        const { product } = await catalog.upsertProduct({ product: changed }, call)
        return { status: 200, body: toProduct(product!) }
      },
    }),
  ]
}
