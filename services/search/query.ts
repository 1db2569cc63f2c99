import { createHash } from 'node:crypto'
import { invalid } from '#lib/errors.ts'
import type { Facet, QueryRequest } from '#protos/shop/search/v1/search.ts'
import { attributeField, attributeTerm, maxValueLength, termsOfName, valueOfTerm } from './attribute-fields.ts'
import { foldText } from './folding.ts'

// From a request to searches of the index, and back. No I/O.

/** What a request asks for, checked. */
export type Query = Omit<QueryRequest, 'cursor' | 'sort'> & { sort: Sort; cursor: Cursor | undefined }

/** `values`: what the hit next to the page was sorted by. */
export type Cursor = { backwards: boolean; fuzzy: boolean; values: [number | string, string] }

type Sort = keyof typeof sorts

/** What each order goes by. The product's id decides between equals: no page repeats one. */
const sorts = {
  newest: { field: 'created', order: 'desc', type: 'number' },
  price: { field: 'price', order: 'asc', type: 'number' },
  '-price': { field: 'price', order: 'desc', type: 'number' },
  name: { field: 'name', order: 'asc', type: 'string' },
  popularity: { field: 'popularity', order: 'desc', type: 'number' },
  relevance: { field: '_score', order: 'desc', type: 'number' },
} as const

const maxText = 200
const maxLimit = 100
const maxFacets = 10
const maxAttributes = 10
const maxValues = 50
const maxFacetValues = 50

/**
 * A facet counts this many hits; if there are more, it is marked as incomplete. At 1,000,000
 * products all hits of a large category would be counted for each page.
 */
export const maxCounted = 10_000

/** Checks a request. Throws `invalid` that names the parameter, and bad_cursor. */
export function parseQuery(request: QueryRequest): Query {
  const { limit, text, attributes, vendors, priceFrom, priceTo, facets } = request
  if (limit < 1 || limit > maxLimit) throw invalid('limit', `must be 1 to ${maxLimit}`)
  if ([...text].length > maxText) throw invalid('text', `must have at most ${maxText} characters`)
  if (attributes.length > maxAttributes) throw invalid('attributes', `must have at most ${maxAttributes} names`)
  if (new Set(attributes.map(({ name }) => name)).size < attributes.length)
    throw invalid('attributes', 'must not repeat a name')
  for (const { name, values } of attributes) checkValues(`attributes.${name}`, values)
  if (vendors.length > 0) checkValues('vendors', vendors)
  if (priceFrom !== undefined && priceTo !== undefined && priceFrom > priceTo)
    throw invalid('price', 'must not be from more to less')
  if (facets.length > maxFacets) throw invalid('facets', `must have at most ${maxFacets} entries`)
  for (const name of facets)
    if (!/^(vendor|price|available|category|attr\..+)$/su.test(name)) throw invalid('facets', 'has an unknown entry')
  if (new Set(facets).size < facets.length) throw invalid('facets', 'must not repeat an entry')
  const hasText = text.trim() !== ''
  const sort = request.sort === '' ? (hasText ? 'relevance' : 'newest') : request.sort
  if (!(sort in sorts)) throw invalid('sort', `must be one of ${Object.keys(sorts).join(', ')}`)
  if (sort === 'relevance' && !hasText) throw invalid('sort', 'relevance is only for a list with text')
  const query = { ...request, text: hasText ? text : '', sort: sort as Sort }
  return { ...query, cursor: request.cursor === '' ? undefined : parseCursor(request.cursor, query) }
}

function checkValues(field: string, values: string[]): void {
  if (values.length < 1 || values.length > maxValues) throw invalid(field, `must have 1 to ${maxValues} values`)
  if (values.some((value) => value === '' || value.length > maxValueLength))
    throw invalid(field, `must have values of 1 to ${maxValueLength} characters`)
}

// Cursors

type Listed = Omit<Query, 'cursor'>

/** Names a list: a cursor fits only pages of the list that it comes from. */
function hashOfList({ categoryId, text, attributes, vendors, priceFrom, priceTo, available, sort }: Listed): string {
  const filters = attributes.map(({ name, values }) => [name, values.toSorted()]).toSorted()
  const list = [categoryId, text, filters, vendors.toSorted(), priceFrom, priceTo, available, sort]
  return createHash('sha256').update(JSON.stringify(list)).digest('base64url').slice(0, 8)
}

function makeCursor(query: Listed, { backwards, fuzzy, values }: Cursor): string {
  return Buffer.from(JSON.stringify([hashOfList(query), backwards ? 1 : 0, fuzzy ? 1 : 0, ...values])).toString(
    'base64url',
  )
}

function parseCursor(text: string, query: Listed): Cursor {
  const wrong = (message: string) => invalid('cursor', message, 'bad_cursor')
  let parts: unknown
  try {
    parts = JSON.parse(Buffer.from(text, 'base64url').toString())
  } catch {
    throw wrong('must be the cursor of another page')
  }
  if (!Array.isArray(parts) || parts.length !== 5) throw wrong('must be the cursor of another page')
  const [hash, backwards, fuzzy, value, id] = parts as unknown[]
  const fits = typeof value === sorts[query.sort].type && typeof id === 'string'
  if (!fits || ![0, 1].includes(backwards as number) || ![0, 1].includes(fuzzy as number))
    throw wrong('must be the cursor of another page')
  if (hash !== hashOfList(query)) throw wrong('must be the cursor of a page of the same list')
  return { backwards: backwards === 1, fuzzy: fuzzy === 1, values: [value as number | string, id] }
}

// Searches

/** A filter and the facet that it belongs to. */
type Filter = { facet: string; clause: object }

function filtersOf(query: Listed): Filter[] {
  const { categoryId, attributes, vendors, priceFrom, priceTo, available } = query
  const filters: Filter[] = attributes.map(({ name, values }) => ({
    facet: `attr.${name}`,
    clause: { terms: { [attributeField(name)]: values.map((value) => attributeTerm(name, value)) } },
  }))
  if (categoryId !== '') filters.push({ facet: '', clause: { term: { categories: categoryId } } })
  if (vendors.length > 0) filters.push({ facet: 'vendor', clause: { terms: { vendor: vendors } } })
  if (priceFrom !== undefined || priceTo !== undefined)
    filters.push({ facet: 'price', clause: { range: { price: { gte: priceFrom, lte: priceTo } } } })
  if (available !== undefined) filters.push({ facet: 'available', clause: { term: { inStock: available } } })
  return filters
}

/**
 * What must be in a product: each word of the text. One in the title counts more than all others.
 */
const exactText = (text: string) => ({
  must: [{ match: { words: { query: text, operator: 'and' } } }],
  should: [{ match: { title: { query: text, boost: 4 } } }],
})

/**
 * The same with typing errors: one in a word of 3 letters and more, two in one of 6 and more. The
 * first letter must be right, which leaves a fraction of all words to compare.
 */
function fuzzyText(text: string) {
  const fuzzy = { query: foldText(text), fuzziness: 'AUTO', prefix_length: 1, max_expansions: 30 }
  return {
    must: [{ match: { letters: { ...fuzzy, operator: 'and' } } }],
    should: [{ match: { completion: { ...fuzzy, boost: 4 } } }],
  }
}

/** Parts of an answer must not pass for all of it: a search that takes longer is an error. */
const timeout = '1s'

function boolOf(query: Listed, { fuzzy, without }: { fuzzy: boolean; without?: string }): object {
  const filter = filtersOf(query).flatMap(({ facet, clause }) => (facet === without ? [] : [clause]))
  return { bool: { filter, ...(query.text === '' ? {} : fuzzy ? fuzzyText(query.text) : exactText(query.text)) } }
}

/**
 * Returns the search of the hits of a page, and of one more, which tells whether it is the last.
 */
function pageSearch(query: Query, fuzzy: boolean): object {
  const { field, order } = sorts[query.sort]
  const backwards = query.cursor?.backwards ?? false
  const turned = { asc: backwards ? 'desc' : 'asc', desc: backwards ? 'asc' : 'desc' }
  return {
    query: boolOf(query, { fuzzy }),
    sort: [{ [field]: turned[order] }, { id: turned['asc'] }],
    ...(query.cursor ? { search_after: query.cursor.values } : {}),
    size: query.limit + 1,
    track_total_hits: false,
    timeout,
  }
}

/** Returns the search that counts some facets, which leave out the same filter. */
function countSearch(query: Query, names: string[], { fuzzy, without }: { fuzzy: boolean; without: string }): object {
  return {
    query: boolOf({ ...query }, { fuzzy, without }),
    size: 0,
    terminate_after: maxCounted,
    track_total_hits: false,
    timeout,
    aggs: Object.fromEntries(names.map((name) => [name, aggregation(name)])),
  }
}

function aggregation(facet: string): object {
  const size = maxFacetValues
  switch (facet) {
    case 'vendor':
      return { terms: { field: 'vendor', size } }
    case 'category':
      return { terms: { field: 'categories', size } }
    case 'available':
      return { terms: { field: 'inStock', size } }
    case 'price':
      return { range: { field: 'price', ranges: priceRanges.map(([from, to]) => ({ from, to: to + 1 })) } }
    default: {
      const name = nameOf(facet)
      return { terms: { field: attributeField(name), include: termsOfName(name), size } }
    }
  }
}

const nameOf = (facet: string) => facet.slice('attr.'.length)

/** Ranges of prices, which grow with the price: 0 to 999, 1,000 to 1,999, to 4,999, to 9,999 … */
const priceRanges: [from: number, to: number][] = [[0, 999]]
for (let from = 1_000; from < 1e12; from *= 10)
  priceRanges.push([from, 2 * from - 1], [2 * from, 5 * from - 1], [5 * from, 10 * from - 1])

/** The searches of a request: first the page's, then those of its facets. */
export type Searches = { bodies: object[]; facets: string[][]; fuzzy: boolean }

/**
 * Returns the searches for a query. A facet leaves out its own filter, so that it shows what else
 * could be chosen; all facets without a filter of their own share one search.
 */
export function searchesFor(query: Query, fuzzy: boolean): Searches {
  const filtered = new Set(filtersOf(query).map(({ facet }) => facet))
  const groups = Map.groupBy(query.facets, (name) => (filtered.has(name) ? name : ''))
  return {
    bodies: [
      pageSearch(query, fuzzy),
      // '' is the category, which its facet does not leave out: it leads further down.
      ...[...groups].map(([own, names]) => countSearch(query, names, { fuzzy, without: own || 'none' })),
    ],
    facets: [...groups.values()],
    fuzzy,
  }
}

// Answers

type Bucket = { key: string | number; key_as_string?: string; from?: number; to?: number; doc_count: number }

/** What the index answers to one search. */
export type SearchResult = {
  terminated_early?: boolean | undefined
  hits: { hits: { _source: { json: string; title: string; handle: string }; sort: [number | string, string] }[] }
  aggregations?: Record<string, { buckets: Bucket[] }> | undefined
}

/** Returns a page and its facets, from the results of `searchesFor`. */
export function pageOf(query: Query, { facets, fuzzy }: Searches, results: SearchResult[]) {
  const [page, ...counts] = results as [SearchResult, ...SearchResult[]]
  const backwards = query.cursor?.backwards ?? false
  const more = page.hits.hits.length > query.limit
  const hits = page.hits.hits.slice(0, query.limit)
  if (backwards) hits.reverse()
  const cursorOf = (hit: (typeof hits)[number] | undefined, back: boolean) =>
    hit ? makeCursor(query, { backwards: back, fuzzy, values: hit.sort }) : ''
  const counted = new Map(facets.flatMap((names, n) => names.map((name) => [name, toFacet(name, counts[n]!)] as const)))
  return {
    products: hits.map((hit) => Buffer.from(hit._source.json)),
    nextCursor: backwards || more ? cursorOf(hits.at(-1), false) : '',
    previousCursor: (backwards ? more : query.cursor !== undefined) ? cursorOf(hits[0], true) : '',
    facets: query.facets.map((name) => counted.get(name)!),
  }
}

function toFacet(name: string, result: SearchResult): Facet {
  const buckets = result.aggregations?.[name]?.buckets ?? []
  return {
    name,
    values: buckets
      .filter((bucket) => bucket.doc_count > 0)
      .map((bucket) => ({ value: valueOf(name, bucket), count: bucket.doc_count })),
    incomplete: result.terminated_early === true,
  }
}

function valueOf(facet: string, { key, key_as_string: text, from = 0, to = 0 }: Bucket): string {
  if (facet === 'price') return `${from}..${to - 1}`
  return facet.startsWith('attr.') ? valueOfTerm(nameOf(facet), String(key)) : (text ?? String(key))
}

/** Returns the search for titles that a shopper may be typing: the most popular first. */
export const suggestSearch = (text: string, limit: number, fuzzy: boolean): object => ({
  query: {
    multi_match: {
      query: foldText(text),
      type: 'bool_prefix',
      operator: 'and',
      fields: ['completion', 'completion._2gram'],
      ...(fuzzy ? { fuzziness: 'AUTO', prefix_length: 1, max_expansions: 30 } : {}),
    },
  },
  sort: [{ popularity: 'desc' }, { id: 'asc' }],
  // Several products may have one title.
  size: 3 * limit,
  _source: ['title', 'handle'],
  track_total_hits: false,
  timeout,
})

/** Returns the titles that `suggestSearch` has found, each once. */
export function titlesOf([result]: SearchResult[], limit: number) {
  const handles = new Map<string, string>()
  for (const { _source: product } of result?.hits.hits ?? [])
    if (!handles.has(product.title)) handles.set(product.title, product.handle)
  return [...handles].slice(0, limit).map(([title, handle]) => ({ title, handle }))
}
