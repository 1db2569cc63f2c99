import { randomUUID } from 'node:crypto'
import { request } from 'node:http'
import { connect } from 'node:net'
import * as fc from 'fast-check'
import { beforeAll, describe, expect, inject, it } from 'vitest'
import { api, available, login, place, product, shopper, type Json, type Shopper } from './shop.ts'

// What only the whole shop can refuse: the services' own rules, seen through the gateway (its own
// are in services/gateway/app.test.ts).

let who: Shopper
let seller: string
let sku: string
beforeAll(async () => {
  ;[who, seller, sku] = await Promise.all([shopper(), login(inject('adminEmail'), inject('adminPassword')), product(5)])
})

const order = (lines: unknown, method = 'pm_card_visa') => ({
  token: who.token,
  headers: { 'idempotency-key': randomUUID() },
  body: { lines, payment: { method } },
})
const asSeller = (method: string, body: unknown) => ({ method, token: seller, body })
const put = (change: Json) =>
  asSeller('PUT', { title: 'T', variants: [{ sku: randomUUID(), price: { amount: 1, currency: 'USD' } }], ...change })

const refused: [what: string, ask: () => ReturnType<typeof api>, status: number, code: string, field?: string][] = [
  [
    'an unknown email',
    () => api('/v1/sessions', { body: { email: 'nobody@example.com', password: 'x' } }),
    401,
    'bad_credentials',
  ],
  [
    'a wrong password',
    () => api('/v1/sessions', { body: { email: who.email, password: 'x' } }),
    401,
    'bad_credentials',
  ],
  [
    'a made-up refresh token',
    () => api('/v1/sessions/refresh', { body: { refreshToken: 'x' } }),
    401,
    'bad_refresh_token',
  ],
  ['a token whose payload was changed', () => api('/v1/users/me', { token: forged(who.token) }), 401, 'bad_token'],
  [
    'an email that is taken, in capitals',
    () => api('/v1/users', { body: { email: who.email.toUpperCase(), password: 'long enough', name: 'A' } }),
    409,
    'email_taken',
    'email',
  ],
  [
    'an email that is none',
    () => api('/v1/users', { body: { email: 'a@b', password: 'long enough', name: 'A' } }),
    400,
    'invalid_field',
    'email',
  ],
  ['an unknown category', () => api('/v1/categories/nope'), 404, 'category_not_found', 'categoryId'],
  ['products of an unknown category', () => api('/v1/products?category=nope'), 404, 'category_not_found', 'category'],
  ['products from a made-up cursor', () => api('/v1/products?cursor=nope'), 400, 'bad_cursor', 'cursor'],
  ['an unknown product', () => api('/v1/products/nope'), 404, 'product_not_found', 'productId'],
  [
    'a product in an unknown category',
    () => api(`/v1/products/${randomUUID()}`, put({ categoryId: 'nope' })),
    400,
    'invalid_field',
    'categoryId',
  ],
  [
    'a currency that is none',
    () => api(`/v1/products/${randomUUID()}`, put({ variants: [{ sku: 'x', price: { amount: 1, currency: 'QQQ' } }] })),
    400,
    'invalid_field',
    'variants.0.price.currency',
  ],
  [
    "another product's SKU",
    () => api(`/v1/products/${randomUUID()}`, put({ variants: [{ sku, price: { amount: 1, currency: 'USD' } }] })),
    409,
    'sku_taken',
    'variants.0.sku',
  ],
  [
    'the replacement character in a title',
    () => api(`/v1/products/${randomUUID()}`, put({ title: '\ufffd' })),
    400,
    'invalid_field',
    'title',
  ],
  [
    'a path of categories with an odd name',
    () => api('/v1/categories', asSeller('POST', { path: ['A', '\ufffd'] })),
    400,
    'invalid_field',
    'path.1',
  ],
  [
    'a price of an unknown variant',
    () =>
      api(
        `/v1/products/${sku.toLowerCase()}`,
        asSeller('PATCH', { variants: [{ sku: 'nope', price: { amount: 1, currency: 'USD' } }] }),
      ),
    422,
    'sku_not_found',
    'variants.0.sku',
  ],
  [
    'a price in a currency that is none',
    () =>
      api(
        `/v1/products/${sku.toLowerCase()}`,
        asSeller('PATCH', { variants: [{ sku, price: { amount: 1, currency: 'QQQ' } }] }),
      ),
    400,
    'invalid_field',
    'variants.0.price.currency',
  ],
  ['stock of an unknown SKU', () => api(`/v1/stock/${randomUUID()}`, { token: seller }), 404, 'stock_not_found', 'sku'],
  [
    'taking more than is there',
    () => api(`/v1/stock/${sku}/adjustments`, asSeller('POST', { id: randomUUID(), delta: -6 })),
    422,
    'insufficient_stock',
  ],
  [
    'an order of an unknown SKU',
    () =>
      api(
        '/v1/orders',
        order([
          { sku, quantity: 1 },
          { sku: 'nope', quantity: 1 },
        ]),
      ),
    422,
    'sku_not_found',
    'lines.1.sku',
  ],
  [
    'an unknown payment method',
    () => api('/v1/orders', order([{ sku, quantity: 1 }], 'pm_nope')),
    422,
    'unknown_payment_method',
    'payment.method',
  ],
  [
    'an order of 10,000 lines',
    () => api('/v1/orders', order(Array.from({ length: 10_000 }, (_, i) => ({ sku: `s${i}`, quantity: 1 })))),
    413,
    'body_too_large',
    'body',
  ],
  [
    'an order of a negative quantity',
    () => api('/v1/orders', order([{ sku, quantity: -1 }])),
    400,
    'invalid_field',
    'lines.0.quantity',
  ],
  ['an unknown order', () => api('/v1/orders/nope', { token: who.token }), 404, 'order_not_found', 'orderId'],
  [
    'cancelling an unknown order',
    () => api('/v1/orders/nope/cancel', { method: 'POST', token: who.token }),
    404,
    'order_not_found',
    'orderId',
  ],
  [
    'orders from a made-up cursor',
    () => api('/v1/orders?cursor=nope', { token: who.token }),
    400,
    'bad_cursor',
    'cursor',
  ],
]

it.each(refused)('%s is refused', async (_what, ask, status, code, field) => {
  const answer = await ask()
  expect(answer).toMatchObject({ status, body: { status, code } })
  expect(answer.headers.get('content-type')).toBe('application/problem+json')
  const fields: string[] = (answer.body.errors ?? []).map((error: { field: string }) => error.field)
  expect(field === undefined || fields.includes(field), `${field} is among ${fields.join(', ')}`).toBe(true)
})

it('what was refused left nothing behind', async () => {
  expect((await api('/v1/orders', { token: who.token })).body).toEqual({ items: [], next: null })
  expect(await available(sku)).toBe(5)
})

it("another shopper's order looks like none", async () => {
  const placed = await place(who, await product(1))
  const other = await shopper()
  expect(placed.status).toBe(202)
  expect(await api(`/v1/orders/${placed.body.id}`, { token: other.token })).toMatchObject({
    status: 404,
    body: { code: 'order_not_found' },
  })
  expect(await api(`/v1/orders/${placed.body.id}/cancel`, { method: 'POST', token: other.token })).toMatchObject({
    status: 404,
    body: { code: 'order_not_found' },
  })
})

it('one Idempotency-Key names one order: the same request answers it, another one is refused', async () => {
  const own = await product(9)
  const key = randomUUID()
  const [first, again, other] = [
    await place(who, own, { key }),
    await place(who, own, { key }),
    await place(who, own, { key, quantity: 2 }),
  ]
  expect(again).toMatchObject({ status: 202, body: { id: first.body.id } })
  expect(other).toMatchObject({
    status: 422,
    body: { code: 'idempotency_key_reused', errors: [{ field: 'Idempotency-Key' }] },
  })
})

it('scripts in a description are not stored', async () => {
  const handle = randomUUID()
  const made = await api(
    `/v1/products/${handle}`,
    put({ description: '<p onclick="x()">Fine</p><script>alert(1)</script>' }),
  )
  expect(made).toMatchObject({ status: 201, body: { description: '<p>Fine</p>' } })
})

/** The token with the role admin written into its payload. */
function forged(token: string): string {
  const [head, payload, signature] = token.split('.')
  const claims = { ...JSON.parse(Buffer.from(payload!, 'base64url').toString()), roles: ['admin'] }
  return [head, Buffer.from(JSON.stringify(claims)).toString('base64url'), signature].join('.')
}

describe('what is hardly HTTP', () => {
  const talk = (text: string, patienceMs: number) =>
    new Promise<string>((resolve, reject) => {
      const { port, hostname } = new URL(inject('shopApi'))
      const socket = connect(Number(port), hostname, () => socket.write(text))
      let answer = ''
      socket.setTimeout(patienceMs, () => reject(new Error(`nothing within ${patienceMs} ms`)))
      socket.on('data', (chunk) => (answer += String(chunk)))
      socket.on('close', () => resolve(answer))
      socket.on('error', reject)
    })

  it.each([
    ['no request line', 'hello\r\n\r\n', /^HTTP\/1\.1 400 .*"code":"bad_request"/s],
    [
      'headers of 20,000 characters',
      `GET / HTTP/1.1\r\nhost: x\r\nx: ${'x'.repeat(20_000)}\r\n\r\n`,
      /^HTTP\/1\.1 431 .*"code":"headers_too_large"/s,
    ],
    [
      'two lengths',
      'POST /v1/users HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n{}',
      /^HTTP\/1\.1 400 /,
    ],
    ['headers that never end', 'GET / HTTP/1.1\r\nhost: x\r\n', /^HTTP\/1\.1 408 .*"code":"request_timeout"/s],
  ])('%s', async (_what, text, expected) => {
    expect(await talk(text, 15_000)).toMatch(expected)
  })
})

/**
 * Anything for every operation of the OpenAPI document, valid parts and odd ones mixed: whatever
 * comes back, it is no 5xx.
 */
it('no request that can be made from the OpenAPI document is answered with 5xx', async () => {
  const { body: document } = await api('/openapi.json')
  const operations = Object.entries<Json>(document.paths).flatMap(([path, methods]) =>
    Object.entries<Json>(methods)
      .filter(([, o]) => !o.tags.includes('Accounts'))
      .map(([method, o]) => ({ path, method, o })),
  )
  const odd = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.jsonValue({ maxDepth: 3 }),
    fc.constantFrom(
      '',
      ' ',
      '\0',
      '\ud800',
      '\u202e',
      "' or 1=1 --",
      '{{7*7}}',
      '$where',
      '../../etc/passwd',
      -1,
      0,
      1e308,
      2 ** 53,
      null,
      [],
      {},
      true,
    ),
  )
  const fitting = (schema: Json): fc.Arbitrary<unknown> => {
    const s: Json = schema.$ref ? document.components.schemas[schema.$ref.split('/').at(-1)] : schema
    if (s.type === 'object' && s.properties) {
      const parts = Object.fromEntries(Object.entries<Json>(s.properties).map(([name, part]) => [name, usually(part)]))
      return fc.record(parts, { requiredKeys: s.required ?? [] })
    }
    if (s.type === 'array' && s.items) return fc.array(usually(s.items), { maxLength: 4 })
    if (s.type === 'integer')
      return fc.integer({ min: Math.max(s.minimum ?? -100, -100), max: Math.min(s.maximum ?? 100, 100) })
    if (s.type === 'boolean') return fc.boolean()
    return s.examples?.length ? fc.constantFrom(...s.examples, sku) : fc.constantFrom(sku, randomUUID())
  }
  const usually = (schema: Json) => fc.oneof({ weight: 9, arbitrary: fitting(schema) }, { weight: 1, arbitrary: odd })

  const one = fc.constantFrom(...operations).chain(({ path, method, o }) => {
    const parameters: Json[] = o.parameters ?? []
    return fc.record({
      path: fc.constant(path),
      method: fc.constant(method),
      parameters: fc.tuple(
        ...parameters.map((p) =>
          usually(p.schema).map((value) => ({ name: String(p.name), in: String(p.in), value: String(value) })),
        ),
      ),
      body: o.requestBody ? usually(o.requestBody.content['application/json'].schema) : fc.constant(undefined),
    })
  })
  await fc.assert(
    fc.asyncProperty(one, async ({ path, method, parameters, body }) => {
      let target = path
      const query: string[] = []
      const headers: string[] = ['authorization', `Bearer ${seller}`]
      for (const p of parameters) {
        const encoded = encodeURIComponent(p.value.toWellFormed())
        if (p.in === 'path') target = target.replace(`{${p.name}}`, encoded)
        else if (p.in === 'query') query.push(`${p.name}=${encoded}`)
        else headers.push(p.name, p.value.replaceAll(/[^\x20-\x7e]/g, '?'))
      }
      const status = await ask(method, query.length > 0 ? `${target}?${query.join('&')}` : target, headers, body)
      expect(status, `${method} ${target} ${JSON.stringify(body)}`).toBeLessThan(500)
    }),
    { numRuns: 300, endOnFailure: true },
  )
}, 300_000)

/** By node:http, as fetch tidies up what it sends. */
function ask(method: string, path: string, headers: string[], body: unknown): Promise<number> {
  const { port, hostname } = new URL(inject('shopApi'))
  const bytes = body === undefined ? undefined : Buffer.from(JSON.stringify(body))
  const own = [
    'host',
    'localhost',
    ...(bytes ? ['content-type', 'application/json', 'content-length', String(bytes.length)] : []),
  ]
  return new Promise((resolve, reject) => {
    const sent = request(
      { port, host: hostname, method: method.toUpperCase(), path, headers: [...own, ...headers] },
      (response) => {
        response.resume()
        response.on('end', () => resolve(response.statusCode ?? 0))
      },
    )
    sent.on('error', reject)
    sent.end(bytes)
  })
}
