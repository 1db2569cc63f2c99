import * as z from 'zod'
import { AppError, notFound } from '#lib/errors.ts'
import type { ProductJson } from '#protos/shop/catalog/v1/catalog.ts'
import type { Clients } from '../clients.ts'
import { idempotencyKey } from '../http/idempotency.ts'
import { actorOf, isAdmin, operation, type User } from '../http/operation.ts'
import { linesMediaType, toLines } from '../http/body-lines.ts'
import { fieldProblem } from '../http/problem.ts'
import { characters, list, money, pageOf, sku, text, wholeNumber } from '../http/schemas.ts'
import { bulkBudgetMs, writeProducts } from './product-bulk.ts'
import { pageOfJson } from './product-lists.ts'
import { product } from './product-schema.ts'

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

const line = z
  .strictObject({
    handle,
    ...productInput,
    variants: list(
      z.strictObject({
        sku,
        options: options.default({}),
        price: money,
        stock: wholeNumber(0, 1_000_000_000)
          .optional()
          .meta({ description: 'The total that the source has supplied so far, as in PUT /v1/stock.', examples: [10] }),
      }),
      1,
      100,
    ).superRefine(uniqueSkus),
  })
  .meta({ id: 'ProductLine' })

const lineAnswer = z
  .object({
    line: z.int().meta({ description: 'Its number in the request, from 1.', examples: [1] }),
    handle: z.string().nullable().meta({ description: 'null if the line could not be read.' }),
    id: z.string().nullable().meta({ description: 'null if the product was not written.' }),
    outcome: z.enum(['created', 'replaced', 'unchanged', 'refused', 'failed']).meta({
      description:
        '`refused`: sending it again cannot help. `failed`: something was unavailable; whether it was written is ' +
        'unknown, so send it again.',
    }),
    problem: z
      .object({
        code: z.string().meta({ examples: ['sku_taken'] }),
        detail: z.string(),
        errors: z.array(z.object({ field: z.string(), message: z.string() })),
      })
      .nullable()
      .meta({
        description:
          'Why it was refused or failed. With another outcome: why its stock was not set, such as ' +
          '`insufficient_stock`.',
      }),
  })
  .meta({ id: 'ProductLineAnswer' })

const ifMatch = {
  'If-Match': z
    .string()
    .max(1_000)
    .optional()
    .meta({
      description:
        'The ETag of the product that the change is based on, or `*`: it must exist. Stock changes the ETag too, ' +
        'but is no reason to refuse a change: only what was written counts.',
      examples: ['"1764000000000.1764000000123"'],
    }),
}
const etag = { ETag: 'Changes with every change of the product, stock included' }

/** Throws 412 for a product that is not the one that If-Match names. */
const unlessChanged = <T>(call: Promise<T>): Promise<T> =>
  call.catch((error: unknown) => {
    if (!(error instanceof AppError) || error.code !== 'product_changed') throw error
    throw fieldProblem('product_changed', 'If-Match', 'is not the ETag of the product')
  })

const locationOf = (handle: string) => ({ Location: `/v1/products/${encodeURIComponent(handle)}` })

const productId = z.object({
  productId: text(1, 255).meta({ description: 'The id or the handle.', examples: ['clay-plant-pot'] }),
})

const seesUnpublished = (user: User | undefined, { sellerId }: ProductJson) =>
  user !== undefined && (isAdmin(user) || user.id === sellerId)

const answerOf = (product: ProductJson | undefined, rest: { status: number; headers?: Record<string, string> }) => {
  const { json, etag: ETag } = product!
  return { ...rest, body: Buffer.from(json), headers: { ...rest.headers, ETag } }
}

export const products = ({ catalog, inventory }: Clients) => [
  operation({
    id: 'getProduct',
    method: 'get',
    path: '/v1/products/{productId}',
    tag: 'Catalogue',
    access: 'optional',
    summary: 'A product',
    description: 'Sellers also get their own unpublished products, admins all.',
    params: productId,
    responses: {
      200: { description: 'The product', schema: product, headers: etag },
      304: { description: 'If-None-Match names its ETag' },
    },
    problems: ['product_not_found'],
    async handle({ params, user, call }) {
      const { product } = await catalog.getProduct({ idOrHandle: params.productId }, call)
      if (!product!.published && !seesUnpublished(user, product!))
        throw notFound('product_not_found', 'Unknown product')
      return answerOf(product, { status: 200 })
    },
  }),
  operation({
    id: 'batchGetProducts',
    method: 'get',
    path: '/v1/products:batch',
    tag: 'Catalogue',
    access: 'public',
    summary: 'The published products that have these SKUs',
    description: 'Each once, in no particular order. SKUs that are unknown or not published are left out.',
    query: z.strictObject({
      sku: z
        .array(sku)
        .min(1, 'must be given 1 to 100 times')
        .max(100, 'must be given 1 to 100 times')
        .meta({ description: 'May be repeated: `?sku=a&sku=b`.', examples: [['clay-plant-pot-large']] }),
    }),
    responses: { 200: { description: 'The products, on one page', schema: pageOf(product) } },
    async handle({ query, call }) {
      const { products } = await catalog.batchGetProducts({ skus: query.sku }, call)
      return { status: 200, body: pageOfJson(products) }
    },
  }),
  operation({
    id: 'createProduct',
    method: 'post',
    path: '/v1/products',
    tag: 'Catalogue',
    access: 'staff',
    summary: 'Create a product',
    description: 'Never replaces one: a handle that is in use is a 409. A seller owns what they create.',
    headers: z.object({ 'Idempotency-Key': idempotencyKey('Identifies this product among yours.').optional() }),
    body: creation,
    responses: {
      201: { description: 'The product', schema: product, headers: { Location: 'The path of the product', ...etag } },
    },
    problems: ['handle_taken', 'sku_taken', 'category_not_found'],
    async handle({ user, headers, body, call }) {
      const { written } = await catalog.createProduct(
        { product: body, idempotencyKey: headers['Idempotency-Key'] ?? '', ...actorOf(user) },
        call,
      )
      const { product, replayed, handle } = written!
      return { ...answerOf(product, { status: 201, headers: locationOf(handle) }), replayed }
    },
  }),
  operation({
    id: 'bulkPutProducts',
    method: 'post',
    path: '/v1/products:bulk',
    tag: 'Catalogue',
    access: 'staff',
    summary: 'Create or replace many products with their stock',
    description:
      'One product a line, up to 1,000 lines and 4 MiB, each for itself; the response has one line for each, in ' +
      'their order. Idempotent: send again what failed. No handle twice.',
    query: z.strictObject({
      source: text(1, 100)
        .default('import')
        .meta({ description: 'Who supplies the stock, as in PUT /v1/stock.', examples: ['import'] }),
    }),
    lines: line,
    budgetMs: bulkBudgetMs,
    responses: {
      200: { description: 'What became of each line', schema: lineAnswer, mediaType: linesMediaType },
    },
    async handle({ query, lines, user, call }) {
      const answers = await writeProducts({ catalog, inventory }, { lines, source: query.source, user, call })
      return { status: 200, body: toLines(answers), headers: { 'Content-Type': linesMediaType } }
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
    headers: z.object(ifMatch),
    body: replacement,
    responses: {
      200: { description: 'Replaced', schema: product, headers: etag },
      201: { description: 'Created', schema: product, headers: { Location: 'The path of the product', ...etag } },
    },
    problems: ['not_owner', 'sku_taken', 'category_not_found', 'product_changed'],
    async handle({ params, headers, body, user, call }) {
      const { written } = await unlessChanged(
        catalog.replaceProduct(
          { product: { ...body, handle: params.productId }, ifMatch: headers['If-Match'] ?? '', ...actorOf(user) },
          call,
        ),
      )
      const { product, created, handle } = written!
      return created
        ? answerOf(product, { status: 201, headers: locationOf(handle) })
        : answerOf(product, { status: 200 })
    },
  }),
  operation({
    id: 'changeProduct',
    method: 'patch',
    path: '/v1/products/{productId}',
    tag: 'Catalogue',
    access: 'staff',
    summary: 'Change some fields or prices of a product',
    description:
      'What is not named stays, whatever others change at the same time. `{"published": false}` archives a product: ' +
      'it is kept, and neither shown nor sold.',
    params: productId,
    headers: z.object(ifMatch),
    body: change,
    responses: { 200: { description: 'The changed product', schema: product, headers: etag } },
    problems: ['product_not_found', 'not_owner', 'sku_not_found', 'category_not_found', 'product_changed'],
    async handle({ params, headers, body, user, call }) {
      const { written } = await unlessChanged(
        catalog.changeProduct(
          {
            ...actorOf(user),
            idOrHandle: params.productId,
            ifMatch: headers['If-Match'] ?? '',
            title: body.title,
            description: body.description,
            vendor: body.vendor,
            categoryId: body.categoryId,
            images: body.images && { values: body.images },
            attributes: body.attributes,
            variants: (body.variants ?? []).map(({ sku, options, price }) => ({
              sku,
              options: options && { values: options },
              price,
            })),
            published: body.published,
          },
          call,
        ),
      )
      return answerOf(written!.product, { status: 200 })
    },
  }),
  operation({
    id: 'deleteProduct',
    method: 'delete',
    path: '/v1/products/{productId}',
    tag: 'Catalogue',
    access: 'staff',
    summary: 'Remove a product',
    description:
      'Its handle and its SKUs are free again; what is in stock of a SKU stays with the SKU. Orders stay as they are.',
    params: productId,
    headers: z.object(ifMatch),
    responses: { 204: { description: 'Removed' } },
    problems: ['product_not_found', 'not_owner', 'product_changed'],
    async handle({ params, headers, user, call }) {
      await unlessChanged(
        catalog.deleteProduct(
          { idOrHandle: params.productId, ifMatch: headers['If-Match'] ?? '', ...actorOf(user) },
          call,
        ),
      )
      return { status: 204, body: undefined }
    },
  }),
]
