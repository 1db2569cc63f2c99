import { parse } from 'yaml'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from '../../platform/processes/paths.ts'
import { randomUUID } from 'node:crypto'
import { pino } from 'pino'
import { Kafka, logLevel, type Producer } from 'kafkajs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Dapr, RpcClient } from '#lib/dapr.ts'
import { unavailable } from '#lib/errors.ts'
import { SearchServiceService, type QueryRequest } from '#protos/shop/search/v1/search.ts'
import { poll } from '../../platform/poll.ts'
import { startService, type RunningService } from '../../platform/testing/service.ts'
import { createIndexClient, type IndexClient } from './index-client.ts'
import { cheapest, nameKey, type ProductEvent } from './product-document.ts'
import { createRebuilds, type Rebuilds } from './rebuild.ts'

// All of search, at a real OpenSearch: the service with its sidecar and subscriptions, and what a
// second replica would be: this process, which rebuilds the index from a catalogue of its own.

const size = 20_000
const searched = `test_${randomUUID().replaceAll('-', '')}`
const openSearch = process.env['TEST_OPENSEARCH_URL'] ?? ''
const log = pino({ level: 'silent' })

/** Without a sidecar, like its `dapr.http`. */
const direct: Pick<Dapr, 'http'> = {
  async http(_endpoint, path, init) {
    const response = await fetch(`${openSearch}${path}`, init)
    return { status: response.status, body: await response.json() }
  },
}

// The catalogue, as it should be found.

const colours = ['red', 'blue', 'green', 'black', 'white', 'bright, red']
const vendors = ['Company 123', 'Potters', '도자기공방', 'Glass & Co', 'Woodworks']
const nouns = [
  'Clay pot',
  'Coffee mug',
  '커피잔',
  '도자기 화분',
  'Dinner plate',
  'Desk lamp',
  'Crème brûlée dish',
  'Vase',
]

/** A generator of the same numbers at each run. */
function createRandom(seed: number) {
  let state = seed
  return (below: number) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}
const random = createRandom(12)
const oneOf = <T>(list: T[]): T => list[random(list.length)]!

let made = 0
function newProduct(o: Partial<ProductEvent> = {}): ProductEvent {
  made += 1
  const number = made
  const noun = oneOf(nouns)
  const top = random(4)
  const leaf = random(5)
  const amounts = Array.from({ length: 1 + random(3) }, () => 100 * random(200))
  const variants = amounts.map((amount, n) => ({
    sku: `sku-${number}-${n}`,
    options: { Size: oneOf(['S', 'M', 'L']) },
    price: { amount, currency: 'USD' },
    available: random(3) === 0 ? random(9) : 0,
  }))
  // Several have the same instant, price, name and popularity: ties.
  const createdAt = new Date(Date.UTC(2026, 0, 1) + 1_000 * Math.floor(number / 3)).toISOString()
  return {
    productId: `p-${randomId()}`,
    version: 1,
    handle: `product-${number}`,
    title: `${noun} ${oneOf(['', 'small', 'large', 'Nº 5'])}`.trim(),
    description: `<p>Made of ${oneOf(['stone', 'oak', 'glass'])}, number&nbsp;${number}</p>`,
    vendor: oneOf(vendors),
    categoryId: `c-${top}-${leaf}`,
    categoryIds: [`c-${top}`, `c-${top}-${leaf}`],
    images: [],
    attributes: { color: oneOf(colours), tags: [oneOf(['new', 'sale']), oneOf(['gift', 'new'])], weight: random(4) },
    variants,
    available: variants.reduce((sum, { available }) => sum + available, 0),
    popularity: random(50),
    published: random(20) !== 0,
    createdAt,
    updatedAt: createdAt,
    ...o,
  }
}
/** One that the catalogue does not have, apart from all others. */
const stray = (o: Partial<ProductEvent>) =>
  newProduct({ categoryId: 'c-stray', categoryIds: ['c-stray'], published: true, ...o })
const randomId = () => Array.from({ length: 26 }, () => 'abcdefghijklmnopqrstuvwxyz234567'[random(32)]).join('')

const catalogue = new Map<string, ProductEvent>()
const catalog = {
  async scan(afterId: string) {
    const ids = [...catalogue.keys()].toSorted().filter((id) => id > afterId)
    const page = ids.slice(0, 500)
    return { products: page.map((id) => catalogue.get(id)!), lastId: ids.length > 500 ? page.at(-1)! : '' }
  },
}

/** A query that any other field is left out of. */
const request = (o: Partial<QueryRequest>): QueryRequest => ({
  categoryId: '',
  text: '',
  attributes: [],
  vendors: [],
  priceFrom: undefined,
  priceTo: undefined,
  available: undefined,
  sort: '',
  facets: [],
  limit: 100,
  cursor: '',
  ...o,
})

const valuesOf = (product: ProductEvent, name: string) =>
  [product.attributes[name] ?? [], ...product.variants.map(({ options }) => options[name] ?? [])].flat().map(String)

function fits(product: ProductEvent, query: QueryRequest): boolean {
  const price = cheapest(product)
  return (
    product.published &&
    (query.categoryId === '' || product.categoryIds.includes(query.categoryId)) &&
    query.attributes.every(({ name, values }) => valuesOf(product, name).some((value) => values.includes(value))) &&
    (query.vendors.length === 0 || query.vendors.includes(product.vendor)) &&
    price >= (query.priceFrom ?? 0) &&
    price <= (query.priceTo ?? Infinity) &&
    (query.available === undefined || product.available > 0 === query.available)
  )
}

const byBytes = (a: string, b: string) => Buffer.compare(Buffer.from(a), Buffer.from(b))
const orders: Record<string, (a: ProductEvent, b: ProductEvent) => number> = {
  newest: (a, b) => Date.parse(b.createdAt) - Date.parse(a.createdAt),
  price: (a, b) => cheapest(a) - cheapest(b),
  '-price': (a, b) => cheapest(b) - cheapest(a),
  name: (a, b) => byBytes(nameKey(a.title), nameKey(b.title)),
  popularity: (a, b) => b.popularity - a.popularity,
}

/** The ids of a list, by looking at every product. */
const naively = (query: QueryRequest, products: Iterable<ProductEvent> = catalogue.values()): string[] =>
  [...products]
    .filter((product) => fits(product, query))
    .toSorted((a, b) => orders[query.sort]!(a, b) || byBytes(a.productId, b.productId))
    .map(({ productId }) => productId)

let own: IndexClient
let rebuilds: Rebuilds
let service: RunningService
let search: RpcClient<typeof SearchServiceService>
let producer: Producer

beforeAll(async () => {
  for (let n = 0; n < size; n++) {
    const product = newProduct()
    catalogue.set(product.productId, product)
  }
  own = createIndexClient({ dapr: direct, searched, log })
  rebuilds = createRebuilds({ index: own, catalog, log })
  await poll('the first index', async () => (await rebuilds.progress()).state === 'done', { timeoutMs: 90_000 })
  const endpoint = {
    apiVersion: 'dapr.io/v1alpha1',
    kind: 'HTTPEndpoint',
    metadata: { name: 'opensearch' },
    spec: { baseUrl: openSearch },
  }
  // With the shop's circuit breaker, which counts every 4xx as a failure.
  const policies = parse(readFileSync(join(root, 'dapr-config', 'resiliency-calls.yaml'), 'utf8')) as object
  service = await startService('search', {
    resources: [endpoint, policies],
    events: true,
    env: { SEARCH_INDEX: searched },
  })
  search = service.client(SearchServiceService)
  const brokers = (process.env['TEST_KAFKA_BROKERS'] ?? '').split(',')
  producer = new Kafka({ brokers, logLevel: logLevel.NOTHING }).producer()
  await producer.connect()
}, 240_000)
afterAll(async () => {
  await producer?.disconnect()
  await service?.close()
  await rebuilds?.close()
  for (const name of [`${searched}-*`, `rebuild_of_${searched}`])
    await fetch(`${openSearch}/${name}`, { method: 'DELETE' })
})

type Shown = Pick<ProductEvent, 'title' | 'handle' | 'published' | 'variants'> & { id: string }
const shown = (json: Uint8Array): Shown => JSON.parse(Buffer.from(json).toString())
const idOf = (json: Uint8Array) => shown(json).id

/** All pages of a list, by `next`, and then all of them again by `previous`. */
async function walk(query: QueryRequest, { back = false } = {}): Promise<string[]> {
  const forth: string[] = []
  let page = await search.query(query)
  for (;;) {
    forth.push(...page.products.map(idOf))
    if (page.nextCursor === '') break
    expect(page.products).toHaveLength(query.limit)
    page = await search.query({ ...query, cursor: page.nextCursor })
  }
  if (back) {
    const reversed = [page.products.map(idOf)]
    while (page.previousCursor !== '') {
      page = await search.query({ ...query, cursor: page.previousCursor })
      reversed.push(page.products.map(idOf))
    }
    expect(reversed.toReversed().flat()).toEqual(forth)
  }
  return forth
}

async function publish(topic: 'products' | 'product-availability', type: string, data: object): Promise<void> {
  const { productId = 'p-first' } = data as Partial<ProductEvent>
  const event = {
    specversion: '1.0',
    id: randomUUID(),
    source: 'catalog',
    type,
    datacontenttype: 'application/json',
    partitionkey: productId,
    time: new Date().toISOString(),
    data,
  }
  await producer.send({ topic: service.topic(topic), messages: [{ key: productId, value: JSON.stringify(event) }] })
}
const upserted = (product: ProductEvent) => publish('products', 'products.product-upserted.v1', product)
const restocked = (product: ProductEvent) =>
  publish('product-availability', 'products.products-changed.v1', { products: [product] })
const deleted = ({ productId, version }: ProductEvent) =>
  publish('products', 'products.product-deleted.v1', { productId, version: version + 1 })

const titlesFound = async (text: string) =>
  (await search.query(request({ text }))).products.map(shown).map(({ title }) => title)

describe('lists', () => {
  const categories = ['', 'c-1', 'c-2-3']
  const attributes = [
    [],
    [{ name: 'color', values: ['red', 'blue'] }],
    [
      { name: 'Size', values: ['S'] },
      { name: 'tags', values: ['sale'] },
    ],
  ]
  const vendorsWanted = [[], ['도자기공방', 'Glass & Co']]
  const prices = [{}, { priceFrom: 2_000, priceTo: 9_000 }]
  const availables = [undefined, true]
  const combinations = categories.flatMap((categoryId) =>
    attributes.flatMap((attributes) =>
      vendorsWanted.flatMap((vendors) =>
        prices.flatMap((price) =>
          availables.map((available) => request({ categoryId, attributes, vendors, ...price, available })),
        ),
      ),
    ),
  )

  test.each(Object.keys(orders))(
    'by %s: every page of every combination of filters is what a look at every product finds',
    async (sort) => {
      const waiting = combinations.map((query) => ({ ...query, sort }))
      const worker = async () => {
        for (let query = waiting.pop(); query; query = waiting.pop()) {
          const expected = naively(query)
          expect({ query, ids: await walk(query) }).toEqual({ query, ids: expected })
        }
      }
      await Promise.all(Array.from({ length: 4 }, worker))
    },
    300_000,
  )

  test.each(Object.keys(orders))('by %s: previous leads back page by page', async (sort) => {
    const query = request({ sort, categoryId: 'c-3', limit: 7, attributes: [{ name: 'weight', values: ['2'] }] })
    expect(await walk({ ...query, vendors: ['Potters'] }, { back: true })).toEqual(
      naively({ ...query, vendors: ['Potters'] }),
    )
  })

  test('only what is out of stock, values with commas, and names that nothing has', async () => {
    const outOfStock = request({ available: false, sort: 'newest', categoryId: 'c-0-0' })
    expect(await walk(outOfStock)).toEqual(naively(outOfStock))
    const comma = request({ attributes: [{ name: 'color', values: ['bright, red'] }], sort: 'name', categoryId: 'c-0' })
    expect(await walk(comma)).toEqual(naively(comma))
    expect(await walk(request({ attributes: [{ name: 'colo', values: ['red'] }] }))).toEqual([])
    expect(await walk(request({ attributes: [{ name: 'color', values: ['Red'] }] }))).toEqual([])
  })

  test('inserts, changes and deletions between pages repeat nothing and skip nothing else', async () => {
    const category = { categoryId: 'c-paging', categoryIds: ['c-paging'], published: true }
    const products = Array.from({ length: 30 }, (_, n) =>
      newProduct({ ...category, createdAt: new Date(Date.UTC(2026, 5, 1) + n).toISOString() }),
    )
    const [oldest, ...others] = products as [ProductEvent, ...ProductEvent[]]
    for (const product of products) await upserted(product)
    const query = request({ categoryId: 'c-paging', sort: 'newest', limit: 10 })
    await poll('all are found', async () => (await walk(query)).length === 30)

    const first = await search.query(query)
    const late = newProduct({ ...category, createdAt: new Date(Date.UTC(2026, 6, 1)).toISOString() })
    const dearer = { ...others[15]!, version: 2, variants: [{ ...others[15]!.variants[0]!, sku: 'dearer' }] }
    await Promise.all([upserted(late), upserted(dearer), deleted(oldest)])
    await poll('the changes are found', async () => {
      const ids = await walk(query)
      return ids[0] === late.productId && !ids.includes(oldest.productId)
    })
    const second = await search.query({ ...query, cursor: first.nextCursor })
    const third = await search.query({ ...query, cursor: second.nextCursor })
    const seen = [first, second, third].flatMap((page) => page.products.map(idOf))
    expect(seen).toEqual(
      products
        .toReversed()
        .map(({ productId }) => productId)
        .slice(0, 29),
    )
    expect(third.nextCursor).toBe('')
    // Back again, to what is new.
    const back = await search.query({ ...query, cursor: second.previousCursor })
    expect(back.products.map(idOf)).toEqual(first.products.map(idOf))
    const start = await search.query({ ...query, cursor: back.previousCursor })
    expect(start.products.map(idOf)).toEqual([late.productId])
    expect(start.previousCursor).toBe('')
  })

  test('a cursor is for one list only', async () => {
    const query = request({ sort: 'price', limit: 5 })
    const { nextCursor: cursor } = await search.query(query)
    const wrong = { kind: 'invalid', code: 'bad_cursor', fields: [expect.objectContaining({ field: 'cursor' })] }
    for (const other of [{ sort: '-price' }, { categoryId: 'c-1' }, { available: true }, { cursor: `x${cursor}` }])
      await expect(search.query({ ...query, cursor, ...other })).rejects.toMatchObject(wrong)
    expect((await search.query({ ...query, cursor, limit: 1 })).products).toHaveLength(1)
  })

  test('what cannot be answered is refused, and named', async () => {
    const wrong: [Partial<QueryRequest>, string][] = [
      [{ limit: 0 }, 'limit'],
      [{ limit: 101 }, 'limit'],
      [{ sort: 'cheapest' }, 'sort'],
      [{ sort: 'relevance' }, 'sort'],
      [{ text: 'x'.repeat(201) }, 'text'],
      [{ facets: ['colour'] }, 'facets'],
      [{ priceFrom: 2, priceTo: 1 }, 'price'],
      [{ attributes: [{ name: 'color', values: [] }] }, 'attributes.color'],
      [{ vendors: [''] }, 'vendors'],
    ]
    for (const [part, field] of wrong)
      await expect(search.query(request(part))).rejects.toMatchObject({
        kind: 'invalid',
        fields: [expect.objectContaining({ field })],
      })
  })
})

describe('facets', () => {
  const count = (values: string[]) => {
    const counts = new Map<string, number>()
    for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1)
    return Object.fromEntries(counts)
  }
  const countsOf = async (query: QueryRequest) =>
    Object.fromEntries(
      (await search.query(query)).facets.map(({ name, values }) => [
        name,
        Object.fromEntries(values.map(({ value, count }) => [value, count])),
      ]),
    )

  test('count the hits of all filters but their own', async () => {
    const query = request({
      categoryId: 'c-1',
      attributes: [{ name: 'color', values: ['red'] }],
      vendors: ['Potters', 'Woodworks'],
      facets: ['attr.color', 'vendor', 'attr.Size', 'attr.tags', 'available', 'category', 'price'],
      sort: 'newest',
    })
    const hits = (o: Partial<QueryRequest>) => naively({ ...query, ...o }).map((id) => catalogue.get(id)!)
    const found = await countsOf(query)
    expect(found['attr.color']).toEqual(
      count(hits({ attributes: [] }).flatMap((p) => [...new Set(valuesOf(p, 'color'))])),
    )
    expect(found['vendor']).toEqual(count(hits({ vendors: [] }).map((p) => p.vendor)))
    expect(found['attr.Size']).toEqual(count(hits({}).flatMap((p) => [...new Set(valuesOf(p, 'Size'))])))
    expect(found['attr.tags']).toEqual(count(hits({}).flatMap((p) => [...new Set(valuesOf(p, 'tags'))])))
    expect(found['available']).toEqual(count(hits({}).map((p) => String(p.available > 0))))
    expect(found['category']).toEqual(count(hits({}).flatMap((p) => p.categoryIds)))
    for (const [range, number] of Object.entries(found['price']!)) {
      const [from, to] = range.split('..').map(Number) as [number, number]
      expect(hits({}).filter((p) => cheapest(p) >= from && cheapest(p) <= to)).toHaveLength(number)
    }
    expect(Object.values(found['price']!).reduce((a, b) => a + b)).toBe(hits({}).length)
  })

  test('say when there are more hits than are counted', async () => {
    const { facets } = await search.query(request({ facets: ['vendor'] }))
    expect(facets[0]!.incomplete).toBe(true)
    expect(facets[0]!.values.reduce((sum, { count }) => sum + count, 0)).toBeGreaterThanOrEqual(10_000)
    const few = await search.query(request({ facets: ['vendor'], categoryId: 'c-1' }))
    expect(few.facets[0]!.incomplete).toBe(false)
  })
})

describe('text', () => {
  test('a title counts more than all else', async () => {
    const description = '<p>zebrawood zebrawood zebrawood zebrawood</p>'
    await upserted(stray({ title: 'Chopping board', description }))
    await upserted(stray({ title: 'A zebrawood bowl', description: '' }))
    await poll('both are found', async () => (await titlesFound('zebrawood')).length === 2)
    expect(await titlesFound('Zebrawood')).toEqual(['A zebrawood bowl', 'Chopping board'])
  })

  test('all words must be there, in the singular or the plural, with or without accents', async () => {
    for (const title of await titlesFound('creme brulee dishes')) expect(title).toMatch(/^Crème brûlée dish/)
    expect(await titlesFound('creme brulee dishes')).not.toEqual([])
    const both = (await search.query(request({ text: 'coffee potters' }))).products.map(shown)
    expect(both.length).toBe(100)
    expect(await titlesFound('coffee zzzzzzzz')).toEqual([])
  })

  test('Korean is found by parts of words, and within a filter', async () => {
    for (const text of ['커피', '커피잔', '화분']) {
      const found = await titlesFound(text)
      expect(found.length).toBeGreaterThan(0)
      for (const title of found) expect(title).toContain(text)
    }
  })

  test.each([
    ['coffe mgu', 'Coffee mug'],
    ['dinnner plat', 'Dinner plate'],
    ['커피쟌', '커피잔'],
    ['도자귀', '도자기 화분'],
  ])('%s finds %s', async (typed, title) => {
    const found = await titlesFound(typed)
    expect(found[0]).toContain(title)
  })

  test('pages of a text go on in the mode of the first, and filters and sorts apply', async () => {
    const query = request({ text: 'coffe mgu', sort: 'price', categoryId: 'c-2', limit: 50 })
    const ids = await walk(query, { back: true })
    const expected = naively({ ...query, text: '' }).filter((id) => catalogue.get(id)?.title.startsWith('Coffee mug'))
    expect(ids).toEqual(expected)
    const exact = request({ text: 'coffee', categoryId: 'c-2-1' })
    const found = await walk(exact)
    expect(found.toSorted()).toEqual(
      naively({ ...exact, sort: 'newest' })
        .filter((id) => catalogue.get(id)!.title.startsWith('Coffee'))
        .toSorted(),
    )
  })

  test('what is typed is completed, letter by letter, by the most popular', async () => {
    await upserted(stray({ title: 'Quilted blanket', popularity: 1 }))
    await upserted(stray({ title: '퀼트 이불', popularity: 7 }))
    await upserted(stray({ title: 'Soft quilt cover', popularity: 5 }))
    const titles = async (text: string) =>
      (await search.suggest({ text, limit: 10 })).suggestions.map(({ title }) => title)
    await poll('all are found', async () => (await titles('quil')).length === 2 && (await titles('퀼')).length === 1)
    expect(await titles('Quil')).toEqual(['Soft quilt cover', 'Quilted blanket'])
    expect(await titles('quilted bl')).toEqual(['Quilted blanket'])
    for (const typed of ['ㅋㅟ', '퀴', '퀼', '퀼ㅌ', '퀼트 이', '퀼트 입'])
      expect([typed, await titles(typed)]).toEqual([typed, ['퀼트 이불']])
    expect(await titles('quitled bl')).toEqual(['Quilted blanket'])
    expect(await titles('qqqq')).toEqual([])
    expect(new Set(await titles('c')).size).toBe((await titles('c')).length)
  })
})

describe('events', () => {
  test('a change is found within 2 s', async () => {
    const product = stray({ vendor: 'Fast' })
    await upserted(product)
    const query = request({ vendors: ['Fast'] })
    await poll('it is found', async () => (await search.query(query)).products.length === 1)
    for (let version = 2; version < 6; version++) {
      const price = { amount: version, currency: 'USD' }
      const began = Date.now()
      await upserted({ ...product, version, variants: [{ ...product.variants[0]!, price }] })
      const isFound = async () => shown((await search.query(query)).products[0]!).variants[0]!.price.amount === version
      await poll('the price is found', isFound, { intervalMs: 20 })
      expect(Date.now() - began).toBeLessThan(2_000)
    }
  })

  test('repeats and late events change nothing, on either topic', async () => {
    const product = stray({ vendor: 'Late' })
    const later = { ...product, version: 7, title: 'Later' }
    await upserted(later)
    const titles = async () => (await search.query(request({ vendors: ['Late'] }))).products.map(shown)
    await poll('it is found', async () => (await titles()).length === 1)
    await restocked({ ...product, version: 6 })
    await upserted(product)
    await upserted(later)
    await deleted({ ...product, version: 5 })
    const marker = stray({ vendor: 'Late' })
    await settled(marker)
    expect((await titles()).map(({ title }) => title)).toEqual(['Later'])
    // Once it is deleted, what comes late does not bring it back; what was created anew does.
    await deleted(later)
    await poll('it is gone', async () => (await titles()).length === 0)
    await upserted(later)
    await restocked({ ...later, version: 8 })
    await settled(stray({ vendor: 'Later' }))
    expect(await titles()).toEqual([])
    await upserted({ ...later, version: 9, published: false })
    await upserted({ ...later, version: 10 })
    await poll('it is back', async () => (await titles()).length === 1)
  })

  /** Waits until what was published before is written, by a product in each partition. */
  async function settled(marker: ProductEvent): Promise<void> {
    const vendor = `Marker ${randomUUID()}`
    const markers = Array.from({ length: 6 }, (_, partition) => ({
      ...marker,
      productId: `${marker.productId}${partition}`,
      vendor,
    }))
    for (const topic of ['products', 'product-availability'] as const)
      await producer.send({
        topic: service.topic(topic),
        messages: markers.map((product, partition) => ({
          partition,
          key: product.productId,
          value: JSON.stringify({
            specversion: '1.0',
            id: randomUUID(),
            source: 'catalog',
            type: 'products.product-upserted.v1',
            datacontenttype: 'application/json',
            partitionkey: product.productId,
            data: { ...product, version: topic === 'products' ? 1 : 2 },
          }),
        })),
      })
    await poll(
      'the markers are found',
      async () => (await search.query(request({ vendors: [vendor] }))).products.length === 6,
    )
  }

  test('what is no product is left to an operator, and the partition goes on', async () => {
    const product = stray({ vendor: 'After' })
    await publish('products', 'products.product-upserted.v1', { productId: product.productId, version: 1 })
    await upserted(product)
    await poll(
      'the next is found',
      async () => (await search.query(request({ vendors: ['After'] }))).products.length === 1,
    )
  })
})

test('a rebuild under writes loses nothing, and lists answer all the time', async () => {
  const query = request({ categoryId: 'c-1', sort: 'newest' })
  const before = await own.list()
  const wanted = await poll('the catalogue and the index agree', async () => {
    const ids = await walk(query)
    return ids.length === naively(query).length && ids
  })
  expect(wanted).toEqual(naively(query))

  let stop = false
  let failed = 0
  const writes = (async () => {
    const ids = [...catalogue.keys()]
    for (let n = 0; !stop; n++) {
      const product = catalogue.get(ids[random(ids.length)]!)
      if (!product) continue
      const kind = random(4)
      const version = product.version + 1
      if (kind === 0) {
        catalogue.delete(product.productId)
        await deleted(product)
      } else if (kind === 1) {
        const added = newProduct()
        catalogue.set(added.productId, added)
        await upserted(added)
      } else {
        const changed = { ...product, version, published: random(3) > 0, popularity: random(50) }
        catalogue.set(changed.productId, changed)
        await upserted(changed)
      }
    }
  })()
  const reads = (async () => {
    while (!stop) {
      const { products } = await search.query(query).catch(() => ({ products: [] }))
      if (products.length < 100) failed += 1
    }
  })()
  const began = await rebuilds.start()
  expect(began.state).toBe('running')
  await expect(search.startRebuild({})).rejects.toMatchObject({ kind: 'exists', code: 'rebuild_running' })
  const done = await poll(
    'it is done',
    async () => {
      const { progress } = await search.getRebuild({})
      return progress!.state !== 'running' && progress
    },
    { timeoutMs: 90_000 },
  )
  stop = true
  await Promise.all([writes, reads])
  expect(done).toMatchObject({ state: 'done', error: '' })
  expect(failed).toBe(0)
  const after = await own.list()
  expect(after).toHaveLength(1)
  expect(after[0]).toMatchObject({ searched: true })
  expect(after[0]!.name).not.toBe(before[0]!.name)
  for (const sort of ['newest', 'popularity']) {
    const all = request({ categoryId: 'c-1', sort })
    await poll(`the list by ${sort} is right`, async () => {
      expect(await walk(all)).toEqual(naively(all))
      return true
    })
  }
}, 240_000)

test('a note that was written, though OpenSearch took too long to say so, holds up no first index', async () => {
  const name = `${searched}_slow`
  const index = createIndexClient({ dapr: direct, searched: name, log })
  let isSlow = true
  const slow: IndexClient = {
    ...index,
    async writeNote(value, version) {
      const written = await index.writeNote(value, version)
      if (!isSlow) return written
      isSlow = false
      throw unavailable('search_unavailable', 'no response in time')
    },
  }
  const none = { scan: async () => ({ products: [], lastId: '' }) }
  const { progress, close } = createRebuilds({ index: slow, catalog: none, log })
  try {
    // Somebody else's note would count for 20 s.
    await poll('the first index', async () => (await progress()).state === 'done', { timeoutMs: 15_000 })
  } finally {
    await close()
    await fetch(`${openSearch}/${name}-*,rebuild_of_${name}`, { method: 'DELETE' })
  }
})
