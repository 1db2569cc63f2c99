import * as z from 'zod'
import { AppError, invalid } from '#lib/errors.ts'
import type { AttributeFilter, QueryRequest } from '#protos/shop/search/v1/search.ts'
import type { Clients } from '../clients.ts'
import { operation } from '../http/operation.ts'
import { characters, pageOf, paging, renameFields, text } from '../http/schemas.ts'
import { product } from './product-schema.ts'

/** How long search may take: after that there must be time left for catalog. */
const searchTimeoutMs = 1_500
const suggestTimeoutMs = 1_500

const sorts = ['newest', 'price', '-price', 'name', 'popularity', 'relevance'] as const
const commaRule = 'A comma in a value is written `\\,`, and a backslash `\\\\`.'
const maxValues = 50
const valueLength = 200

/** Values with commas between them. */
const values = characters(1, 2_000).transform((list, context) => {
  const found = splitValues(list)
  if (found.length > maxValues || found.some((value) => value === '' || value.length > valueLength))
    context.addIssue({ code: 'custom', message: `must be 1 to ${maxValues} values of 1 to ${valueLength} characters` })
  return found
})
const valuesMeta = (description: string, example: string) => ({
  description: `${description} ${commaRule}`,
  examples: [example],
  override: { type: 'string' as const },
})

const amount = z.string().regex(/^[0-9]{0,13}$/)
const price = z
  .string()
  .transform((range, context): [from: number | undefined, to: number | undefined] => {
    const [from, to, ...rest] = range.split('..')
    const isRange = to !== undefined && rest.length === 0 && from + to !== ''
    if (!isRange || !amount.safeParse(from).success || !amount.safeParse(to).success) {
      context.addIssue({ code: 'custom', message: 'must be FROM..TO, FROM.. or ..TO, in minor units' })
      return [undefined, undefined]
    }
    const bounds = [from, to].map((bound) => (bound === '' ? undefined : Number(bound))) as [number?, number?]
    if (bounds[0] !== undefined && bounds[1] !== undefined && bounds[0] > bounds[1])
      context.addIssue({ code: 'custom', message: 'must not be from more to less' })
    return [bounds[0], bounds[1]]
  })
  .meta({
    description: 'Of the cheapest variant, in minor units, both ends included: `1000..5000`, `1000..` or `..5000`.',
    examples: ['1000..5000'],
    override: { type: 'string' },
  })

const facetName = /^(vendor|price|available|category|attr\.[^,]{1,100})$/su
const facets = characters(1, 1_100)
  .transform((list, context) => {
    const names = list.split(',')
    const fits = names.length <= 10 && names.every((name) => facetName.test(name))
    if (!fits || new Set(names).size < names.length)
      context.addIssue({
        code: 'custom',
        message: 'must be up to 10 of vendor, price, available, category and attr.NAME, each once',
      })
    return names
  })
  .meta({
    description: 'What to count the products by: `vendor`, `price`, `available`, `category`, `attr.NAME`. Up to 10.',
    examples: ['attr.color,vendor,price'],
    override: { type: 'string' },
  })

const facet = z
  .object({
    name: z.string().meta({ examples: ['attr.color'] }),
    values: z
      .array(
        z.object({
          value: z.string().meta({ description: 'As its filter takes it.', examples: ['red'] }),
          count: z.int().meta({ examples: [12] }),
        }),
      )
      .meta({ description: 'Up to 50, the most frequent first; prices from low to high.' }),
    incomplete: z.boolean().meta({
      description: 'More than 10,000 products fit, and only about so many were counted.',
    }),
  })
  .meta({ id: 'Facet', description: 'Counts the products that fit all filters but its own.' })

const listed = pageOf(product)
  .extend({
    previous: z
      .string()
      .nullable()
      .meta({ description: 'The cursor of the page before; null on the first page.', examples: [null] }),
    facets: z.array(facet),
    degraded: z.boolean().meta({
      description: 'Search is out, and this list comes from the catalogue: newest first, no facets.',
      examples: [false],
    }),
  })
  .meta({ id: 'ProductList' })

const suggestions = z
  .object({
    items: z.array(
      z.object({
        title: z.string().meta({ examples: ['Clay Plant Pot'] }),
        handle: z.string().meta({ examples: ['clay-plant-pot'] }),
      }),
    ),
  })
  .meta({ id: 'Suggestions' })

/**
 * The cursor of a list that catalog has too: where it goes on in search's list (absent: in
 * catalog's only), and in catalog's. So a list that search began goes on while search is out.
 */
type PlainCursor = { s?: string; c?: string; id?: string; at?: string }
const plainMark = 'l.'

export const productLists = ({ catalog, search }: Clients) => [
  operation({
    id: 'listProducts',
    method: 'get',
    path: '/v1/products',
    tag: 'Catalogue',
    access: 'public',
    summary: 'Published products: by category, filters and words',
    description:
      'A change is found within 2 s. While search is out, a list without words, filters and facets, newest first, ' +
      'comes from the catalogue with `degraded: true`; any other is a 503.',
    query: z.strictObject({
      category: text(1, 100).optional().meta({ description: 'Only products of this category and its descendants.' }),
      q: text(1, 200)
        .optional()
        .meta({
          description:
            'Words, all of which must be in the product. If no product has them all, words that are spelt alike count.',
          examples: ['clay pot'],
        }),
      vendor: values.optional().meta(valuesMeta('One of these vendors.', 'Company 123')),
      price: price.optional(),
      available: z
        .enum(['true', 'false'])
        .transform((value) => value === 'true')
        .optional()
        .meta({ description: 'Only what is in stock, or only what is not.', override: { enum: ['true', 'false'] } }),
      sort: z.enum(sorts).optional().meta({
        description: '`relevance` only with `q`, and its default; else `newest`. Prices are the cheapest ones.',
      }),
      facets: facets.optional(),
      ...paging,
      cursor: paging.cursor.meta({ description: '`next` or `previous` of another page of this list.' }),
    }),
    moreQuery: {
      prefix: 'attr.',
      name: text(1, 100),
      value: values,
      description:
        'Attributes and options of variants: `attr.color=red,blue` is one of both values, and with `attr.Size=L` ' +
        `both must fit. Up to 10, spelt as in the product. ${commaRule}`,
      example: { 'attr.color': 'red,blue' },
    },
    notFoundField: 'category',
    responses: { 200: { description: 'A page of products', schema: listed } },
    problems: ['bad_cursor', 'category_not_found', 'search_unavailable'],
    async handle({ query, more, call }) {
      const { cursor = '', category: categoryId = '', q, price: [priceFrom, priceTo] = [], sort } = query
      if (sort === 'relevance' && q === undefined) throw invalid('sort', 'relevance is only for a list with q')
      const attributes = Object.entries(more).map(([name, values]): AttributeFilter => ({ name, values }))
      if (attributes.length > 10) throw invalid('attr', 'must be at most 10')
      const request: QueryRequest = {
        categoryId,
        text: q ?? '',
        attributes,
        vendors: query.vendor ?? [],
        priceFrom,
        priceTo,
        available: query.available,
        sort: sort ?? '',
        facets: query.facets ?? [],
        limit: query.limit,
        cursor,
      }
      const isPlain = isWithoutSearch(request)
      const position = isPlain && cursor !== '' ? readPlainCursor(cursor) : undefined
      if (position && position.s === undefined) return fallback()
      try {
        const timeoutMs = Math.min(searchTimeoutMs, call.timeoutMs ?? Infinity)
        const asked = { ...request, cursor: position?.s ?? cursor }
        const page = await renameFields(search.query(asked, { timeoutMs }), toParameter)
        if (page.products.length === 0 && categoryId !== '' && cursor === '') await mustExist(categoryId)
        const { nextCursor, previousCursor } = page
        const cursors = isPlain
          ? { nextCursor: plainNext(nextCursor, page.products), previousCursor: plainCursor({ s: previousCursor }) }
          : {}
        return { status: 200, body: listJson({ ...page, ...cursors, degraded: false }) }
      } catch (error) {
        if (!isOut(error)) throw error
        // What came before a page is nothing that catalog can list.
        if (!isPlain || (position && position.id === undefined)) throw searchUnavailable(error)
        return fallback()
      }

      async function fallback() {
        const { id: productId, at: createdAt = '' } = position ?? {}
        const { products, nextCursor } = await catalog.listProducts(
          {
            categoryId,
            limit: query.limit,
            cursor: position?.c ?? '',
            after: productId === undefined ? undefined : { productId, createdAt },
          },
          call,
        )
        const next = nextCursor === '' ? '' : plainCursor({ c: nextCursor })
        const page = { products, nextCursor: next, previousCursor: '', facets: [], degraded: true }
        return { status: 200, body: listJson(page) }
      }

      /** Search knows no categories: an empty list may be of one that does not exist. */
      async function mustExist(id: string): Promise<void> {
        await catalog.getCategory({ categoryId: id }, call).catch((error: unknown) => {
          if (error instanceof AppError && error.kind === 'not_found') throw error
        })
      }
    },
  }),
  operation({
    id: 'suggestProducts',
    method: 'get',
    path: '/v1/products:suggest',
    tag: 'Catalogue',
    access: 'public',
    summary: 'Titles that begin with what was typed so far',
    description: 'The most popular first, each title once.',
    query: z.strictObject({
      q: text(1, 100).meta({ description: 'Of any word of a title, or of several.', examples: ['clay p'] }),
      limit: z
        .string()
        .regex(/^([1-9]|1[0-9]|20)$/, 'must be 1 to 20')
        .transform(Number)
        .default(10)
        .meta({ override: { type: 'integer', minimum: 1, maximum: 20, default: 10 } }),
    }),
    responses: { 200: { description: 'Titles', schema: suggestions } },
    problems: ['search_unavailable'],
    async handle({ query, call }) {
      const timeoutMs = Math.min(suggestTimeoutMs, call.timeoutMs ?? Infinity)
      const found = await search.suggest({ text: query.q, limit: query.limit }, { timeoutMs }).catch((error) => {
        throw isOut(error) ? searchUnavailable(error) : error
      })
      const items = found.suggestions.map(({ title, handle }) => ({ title, handle }))
      return { status: 200, body: { items } satisfies z.infer<typeof suggestions> }
    },
  }),
]

/** Whether catalog can answer it: it has lists by category, newest first, and nothing else. */
const isWithoutSearch = (r: QueryRequest) =>
  r.text === '' &&
  r.attributes.length === 0 &&
  r.vendors.length === 0 &&
  r.priceFrom === undefined &&
  r.priceTo === undefined &&
  r.available === undefined &&
  r.facets.length === 0 &&
  (r.sort === '' || r.sort === 'newest')

const plainCursor = (position: PlainCursor): string =>
  position.s === '' ? '' : plainMark + Buffer.from(JSON.stringify(position)).toString('base64url')

function plainNext(s: string, products: Uint8Array[]): string {
  const last = products.at(-1)
  if (s === '' || !last) return ''
  const { id, createdAt: at } = JSON.parse(Buffer.from(last).toString()) as { id: string; createdAt: string }
  return plainCursor({ s, id, at })
}

const plainPosition = z.strictObject({
  s: z.string().min(1).optional(),
  c: z.string().min(1).optional(),
  id: z.string().optional(),
  at: z.string().optional(),
})

/** Throws `bad_cursor`. */
function readPlainCursor(cursor: string): PlainCursor {
  try {
    if (!cursor.startsWith(plainMark)) throw new Error('it is of another kind of list')
    return plainPosition.parse(JSON.parse(Buffer.from(cursor.slice(plainMark.length), 'base64url').toString()))
  } catch {
    throw invalid('cursor', 'must be the cursor of another page of this list', 'bad_cursor')
  }
}

const isOut = (error: unknown): boolean =>
  error instanceof AppError && (error.kind === 'unavailable' || error.kind === 'timeout')

const searchUnavailable = (cause: unknown) =>
  new AppError('unavailable', 'search_unavailable', 'search is not available right now', { cause })

/** What search calls a field, as the parameter that it comes from. */
const toParameter = (field: string): string =>
  ({ text: 'q', vendors: 'vendor' })[field] ?? field.replace(/^attributes\./, 'attr.')

/** Splits at the commas that have no backslash before them. */
function splitValues(list: string): string[] {
  return list.match(/(?:\\.|[^\\,]|\\$)+|(?<=,|^)(?=,|$)/gsu)!.map((value) => value.replaceAll(/\\(.)/gsu, '$1'))
}

type Page = {
  products: Uint8Array[]
  nextCursor: string
  previousCursor: string
  facets: { name: string; values: { value: string; count: number }[]; incomplete: boolean }[]
  degraded: boolean
}

/** Returns a page of products that are JSON already. */
function listJson({ products, nextCursor, previousCursor, facets, degraded }: Page): Buffer {
  const rest = JSON.stringify({
    next: nextCursor || null,
    previous: previousCursor || null,
    facets: facets.map(({ name, values, incomplete }) => ({
      name,
      values: values.map(({ value, count }) => ({ value, count })),
      incomplete,
    })),
    degraded,
  })
  return Buffer.concat([itemsOf(products), Buffer.from(`,${rest.slice(1)}`)])
}

/** Returns a list of products that are JSON already, as one page. */
export const pageOfJson = (products: Uint8Array[]): Buffer =>
  Buffer.concat([itemsOf(products), Buffer.from(',"next":null}')])

const itemsOf = (products: Uint8Array[]): Buffer =>
  Buffer.concat([
    Buffer.from('{"items":['),
    ...products.flatMap((each, i) => (i === 0 ? [each] : [Buffer.from(','), each])),
    Buffer.from(']'),
  ])
