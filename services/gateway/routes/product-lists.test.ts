import { pino } from 'pino'
import supertest from 'supertest'
import { describe, expect, test, vi } from 'vitest'
import { createDapr } from '#lib/dapr.ts'
import { unavailable } from '#lib/errors.ts'
import type { QueryRequest, QueryResponse } from '#protos/shop/search/v1/search.ts'
import { createApp } from '../app.ts'
import { createClients, type Clients } from '../clients.ts'

// The routes alone: what they ask of search and catalog, and what they make of the answers. The
// services themselves are in their own tests, and all together in e2e/search.test.ts.

const id = (n: number) => `p-${String(n).padStart(26, 'a')}`
const product = (n: number) => Buffer.from(JSON.stringify({ id: id(n), createdAt: `2026-01-0${n}T00:00:00.000Z` }))
const pageOf = (o: Partial<QueryResponse>): QueryResponse => ({
  products: [],
  nextCursor: '',
  previousCursor: '',
  facets: [],
  ...o,
})
const out = () => Promise.reject(unavailable('search_unavailable', 'out'))

function createTestApp(o: {
  query?: (request: QueryRequest) => Promise<QueryResponse>
  listProducts?: Clients['catalog']['listProducts']
}) {
  const dapr = createDapr({ grpcPort: 1, httpPort: 1, apiToken: 'x' })
  const clients = createClients(dapr)
  const catalog = { ...clients.catalog, ...(o.listProducts && { listProducts: o.listProducts }) }
  const search = { ...clients.search, ...(o.query && { query: o.query }), suggest: out }
  return supertest(
    createApp({
      clients: { ...clients, catalog, search },
      log: pino({ level: 'silent' }),
      ready: async () => true,
      limits: { apiPer10s: 100_000, staffPer10s: 100_000, authPerMinute: 100_000 },
    }),
  )
}

describe('a list', () => {
  test('asks search for what the parameters say', async () => {
    const query = vi.fn<(request: QueryRequest) => Promise<QueryResponse>>(async () =>
      pageOf({ products: [product(1)] }),
    )
    const path =
      '/v1/products?category=c-1&q=clay+pot&attr.color=red,sky%20blue&attr.Size=1%5C,5,%5C%5C&vendor=A,B' +
      '&price=100..&available=false&sort=-price&facets=attr.color,price&limit=5'
    const response = await createTestApp({ query }).get(path)
    expect(response.status).toBe(200)
    expect(query.mock.calls[0]![0]).toEqual({
      categoryId: 'c-1',
      text: 'clay pot',
      attributes: [
        { name: 'color', values: ['red', 'sky blue'] },
        { name: 'Size', values: ['1,5', '\\'] },
      ],
      vendors: ['A', 'B'],
      priceFrom: 100,
      priceTo: undefined,
      available: false,
      sort: '-price',
      facets: ['attr.color', 'price'],
      limit: 5,
      cursor: '',
    })
  })

  test('passes products on unchanged, with cursors and facets', async () => {
    const facet = { name: 'vendor', values: [{ value: 'A', count: 2 }], incomplete: false }
    const products = [Buffer.from('{"id":"p-1","title":"커피잔","createdAt":"x"}'), product(2)]
    const query = async () => pageOf({ products, nextCursor: 'n', previousCursor: 'p', facets: [facet] })
    const { body } = await createTestApp({ query }).get('/v1/products?facets=vendor')
    const items = products.map((json) => JSON.parse(json.toString()))
    expect(body).toEqual({ items, next: 'n', previous: 'p', facets: [facet], degraded: false })
  })
})

describe('while search is out', () => {
  const catalogOf = (pages: Record<string, { products: Buffer[]; nextCursor: string }>) =>
    vi.fn<Clients['catalog']['listProducts']>(async ({ cursor, after }) => pages[after?.productId ?? cursor]!)

  test('a list without words and filters comes from catalog, page by page', async () => {
    const listProducts = catalogOf({
      '': { products: [product(3)], nextCursor: 'c2' },
      c2: { products: [product(2)], nextCursor: '' },
    })
    const app = createTestApp({ query: out, listProducts })
    const first = await app.get('/v1/products?category=c-1&limit=1')
    expect(first.body).toMatchObject({ items: [{ id: id(3) }], previous: null, facets: [], degraded: true })
    const second = await app.get(`/v1/products?category=c-1&limit=1&sort=newest&cursor=${first.body.next}`)
    expect(second.body).toMatchObject({ items: [{ id: id(2) }], next: null, degraded: true })
    expect(listProducts.mock.calls.map(([request]) => request.cursor)).toEqual(['', 'c2'])
  })

  test('a list that search has begun goes on in catalog', async () => {
    const up = createTestApp({ query: async () => pageOf({ products: [product(4), product(3)], nextCursor: 's' }) })
    const { next } = (await up.get('/v1/products?limit=2')).body
    const listProducts = catalogOf({ [id(3)]: { products: [product(2)], nextCursor: '' } })
    const { body } = await createTestApp({ query: out, listProducts }).get(`/v1/products?limit=2&cursor=${next}`)
    expect(body).toMatchObject({ items: [{ id: id(2) }], next: null, degraded: true })
    expect(listProducts.mock.calls[0]![0].after).toEqual({ productId: id(3), createdAt: '2026-01-03T00:00:00.000Z' })
    // And in search again, once it is back.
    const query = vi.fn<(request: QueryRequest) => Promise<QueryResponse>>(async () => pageOf({}))
    await createTestApp({ query }).get(`/v1/products?limit=2&cursor=${next}`)
    expect(query.mock.calls[0]![0].cursor).toBe('s')
  })

  test.each(['q=pot', 'attr.a=1', 'vendor=A', 'price=1..', 'available=true', 'sort=name', 'facets=vendor'])(
    'a list with %s is a 503 that says when to ask again',
    async (parameter) => {
      const listProducts = catalogOf({})
      const response = await createTestApp({ query: out, listProducts }).get(`/v1/products?${parameter}`)
      expect(response.status).toBe(503)
      expect(response.body.code).toBe('search_unavailable')
      expect(response.headers['retry-after']).toBe('1')
      expect(listProducts).not.toHaveBeenCalled()
    },
  )

  test('suggestions are a 503', async () => {
    const response = await createTestApp({}).get('/v1/products:suggest?q=po')
    expect(response.status).toBe(503)
    expect(response.body.code).toBe('search_unavailable')
  })
})
