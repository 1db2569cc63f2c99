import { randomUUID } from 'node:crypto'
import { request as httpRequest } from 'node:http'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import * as fc from 'fast-check'
import { beforeAll, describe, expect, inject, it } from 'vitest'
import type { Ports } from '../platform/processes/ports.ts'
import { attachShop } from '../platform/start/shop.ts'
import { cardNumber, passwordMark } from '../platform/testing/leaks.ts'
import { api, available, login, place, product, shopper, type Json, type Shopper } from './shop-client.ts'

// The rules of the services, tested through the gateway. The gateway's own are tested in
// services/gateway/app.test.ts.

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

const refused: [what: string, send: () => ReturnType<typeof api>, status: number, code: string, field?: string][] = [
  [
    'an unknown email',
    () => api('/v1/sessions', { body: { email: 'nobody@example.com', password: 'x' } }),
    401,
    'bad_credentials',
  ],
  [
    'a wrong password',
    () => api('/v1/sessions', { body: { email: who.email, password: `${passwordMark}wrong` } }),
    401,
    'bad_credentials',
  ],
  [
    'an invented refresh token',
    () => api('/v1/sessions/refresh', { body: { refreshToken: 'x' } }),
    401,
    'bad_refresh_token',
  ],
  ['a token whose payload was changed', () => api('/v1/users/me', { token: forged(who.token) }), 401, 'bad_token'],
  [
    'an email that is taken, in capitals',
    () => api('/v1/users', { body: { email: who.email.toUpperCase(), password: `${passwordMark}1`, name: 'A' } }),
    409,
    'email_taken',
    'email',
  ],
  [
    'an invalid email',
    () => api('/v1/users', { body: { email: 'a@b', password: `${passwordMark}1`, name: 'A' } }),
    400,
    'invalid_field',
    'email',
  ],
  ['an unknown category', () => api('/v1/categories/nope'), 404, 'category_not_found', 'categoryId'],
  ['products of an unknown category', () => api('/v1/products?category=nope'), 404, 'category_not_found', 'category'],
  ['products from an invented cursor', () => api('/v1/products?cursor=nope'), 400, 'bad_cursor', 'cursor'],
  ['an unknown product', () => api('/v1/products/nope'), 404, 'product_not_found', 'productId'],
  [
    'a product in an unknown category',
    () => api(`/v1/products/${randomUUID()}`, put({ categoryId: 'nope' })),
    400,
    'invalid_field',
    'categoryId',
  ],
  [
    'an unknown currency',
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
    'a category path with an unreadable name',
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
    'a price in an unknown currency',
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
    'removing more than is on hand',
    () => api(`/v1/stock/${sku}/adjustments`, asSeller('POST', { id: randomUUID(), delta: -6 })),
    422,
    'insufficient_stock',
  ],
  [
    'an order with an unknown SKU',
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
    "a card's number",
    () => api('/v1/orders', order([{ sku, quantity: 1 }], cardNumber)),
    400,
    'invalid_field',
    'payment.method',
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
    'an order with a negative quantity',
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
    'orders from an invented cursor',
    () => api('/v1/orders?cursor=nope', { token: who.token }),
    400,
    'bad_cursor',
    'cursor',
  ],
]

it.each(refused)('%s is refused', async (_what, send, status, code, field) => {
  const answer = await send()
  expect(answer).toMatchObject({ status, body: { status, code } })
  expect(answer.headers.get('content-type')).toBe('application/problem+json')
  const fields: string[] = (answer.body.errors ?? []).map((error: { field: string }) => error.field)
  expect(field === undefined || fields.includes(field), `${field} is among ${fields.join(', ')}`).toBe(true)
})

it('refused requests left no traces', async () => {
  expect((await api('/v1/orders', { token: who.token })).body).toEqual({ items: [], next: null })
  expect(await available(sku)).toBe(5)
})

it("another shopper's order is not found", async () => {
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

it('an Idempotency-Key names one order: the same request returns it, a different one is refused', async () => {
  const own = await product(9)
  const key = randomUUID()
  const [first, again, other] = [
    await place(who, own, { key }),
    await place(who, own, { key }),
    await place(who, own, { key, quantity: 2 }),
  ]
  expect(again).toMatchObject({ status: 202, body: { id: first.body.id } })
  expect([first, again].map(({ headers }) => headers.get('idempotent-replayed'))).toEqual([null, 'true'])
  expect(other).toMatchObject({
    status: 422,
    body: { code: 'idempotency_key_reused', errors: [{ field: 'Idempotency-Key' }] },
  })
})

it('scripts in a description are removed', async () => {
  const handle = randomUUID()
  const created = await api(
    `/v1/products/${handle}`,
    put({ description: '<p onclick="x()">Fine</p><script>alert(1)</script>' }),
  )
  expect(created).toMatchObject({ status: 201, body: { description: '<p>Fine</p>' } })
})

/** Returns the token with the role admin added to its payload. */
function forged(token: string): string {
  const [head, payload, signature] = token.split('.')
  const claims = { ...JSON.parse(Buffer.from(payload!, 'base64url').toString()), roles: ['admin'] }
  return [head, Buffer.from(JSON.stringify(claims)).toString('base64url'), signature].join('.')
}

describe('malformed HTTP', () => {
  /** Sends bytes and returns what comes back until the connection is closed. */
  const exchange = (port: number, text: string, timeoutMs: number) =>
    new Promise<string>((resolve, reject) => {
      const socket = connect(port, '127.0.0.1', () => socket.write(text))
      let answer = ''
      socket.setTimeout(timeoutMs, () => reject(new Error(`silence for ${timeoutMs} ms`)))
      socket.on('data', (chunk) => (answer += String(chunk)))
      socket.on('close', () => resolve(answer))
      socket.on('error', reject)
    })

  let ports: Ports
  beforeAll(async () => {
    ports = (await attachShop(inject('shopInstance'))).ports
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
  ])('%s', async (_what, text, expected) => {
    // The gateway must also withstand clients that reach it without the edge.
    for (const port of new Set([ports.api, ports.services.gateway.app]))
      expect(await exchange(port, text, 15_000)).toMatch(expected)
  })

  it('headers that never end', async () => {
    const text = 'GET / HTTP/1.1\r\nhost: x\r\n'
    const { api, services } = ports
    const answer = await exchange(services.gateway.app, text, 15_000)
    expect(answer).toMatch(/^HTTP\/1\.1 408 .*"code":"request_timeout"/s)
    // nginx has no response for it.
    if (api !== services.gateway.app) expect(await exchange(api, text, 15_000)).toBe('')
  })
})

it('no request derived from the OpenAPI document, with valid and odd parts mixed, causes a 5xx', async () => {
  const { body: document } = await api('/openapi.json')
  const operations = Object.entries<Json>(document.paths).flatMap(([path, methods]) =>
    Object.entries<Json>(methods)
      .filter(([, operation]) => !operation.tags.includes('Accounts'))
      .map(([method, operation]) => ({ path, method, operation })),
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
  const valid = (schema: Json): fc.Arbitrary<unknown> => {
    const s: Json = schema.$ref ? document.components.schemas[schema.$ref.split('/').at(-1)] : schema
    if (s.type === 'object' && s.properties) {
      const parts = Object.fromEntries(
        Object.entries<Json>(s.properties).map(([name, part]) => [name, mostlyValid(part)]),
      )
      return fc.record(parts, { requiredKeys: s.required ?? [] })
    }
    if (s.type === 'array' && s.items) return fc.array(mostlyValid(s.items), { maxLength: 4 })
    if (s.type === 'integer')
      return fc.integer({ min: Math.max(s.minimum ?? -100, -100), max: Math.min(s.maximum ?? 100, 100) })
    if (s.type === 'boolean') return fc.boolean()
    return s.examples?.length ? fc.constantFrom(...s.examples, sku) : fc.constantFrom(sku, randomUUID())
  }
  const mostlyValid = (schema: Json) => fc.oneof({ weight: 9, arbitrary: valid(schema) }, { weight: 1, arbitrary: odd })

  const request = fc.constantFrom(...operations).chain(({ path, method, operation }) => {
    const parameters: Json[] = operation.parameters ?? []
    // One line of JSON, where the operation takes lines.
    const [mediaType = '', content]: [string?, Json?] =
      Object.entries<Json>(operation.requestBody?.content ?? {})[0] ?? []
    return fc.record({
      mediaType: fc.constant(mediaType),
      path: fc.constant(path),
      method: fc.constant(method),
      parameters: fc.tuple(
        ...parameters.map((p) =>
          mostlyValid(p.schema).map((value) => ({ name: String(p.name), in: String(p.in), value: String(value) })),
        ),
      ),
      body: content ? mostlyValid(content['schema']) : fc.constant(undefined),
    })
  })
  await fc.assert(
    fc.asyncProperty(request, async ({ path, method, parameters, mediaType, body }) => {
      let target = path
      const query: string[] = []
      const headers: string[] = ['authorization', `Bearer ${seller}`]
      for (const p of parameters) {
        const encoded = encodeURIComponent(p.value.toWellFormed())
        if (p.in === 'path') target = target.replace(`{${p.name}}`, encoded)
        else if (p.in === 'query') query.push(`${p.name}=${encoded}`)
        else headers.push(p.name, p.value.replaceAll(/[^\x20-\x7e]/g, '?'))
      }
      if (body !== undefined) headers.push('content-type', mediaType)
      const url = query.length > 0 ? `${target}?${query.join('&')}` : target
      let { status, retryAfter } = await sendRaw(method, url, headers, body)
      // An index that was started a moment ago, by earlier tests, may be slow, and says so.
      for (let again = 0; status === 503 && retryAfter !== undefined && again < 5; again++) {
        await sleep(1_000 * Number(retryAfter))
        ;({ status, retryAfter } = await sendRaw(method, url, headers, body))
      }
      expect(status, `${method} ${target} ${JSON.stringify(body)}`).toBeLessThan(500)
    }),
    { numRuns: 300, endOnFailure: true },
  )
}, 300_000)

/** Sends a request by node:http, as fetch would tidy it up. */
function sendRaw(
  method: string,
  path: string,
  headers: string[],
  body: unknown,
): Promise<{ status: number; retryAfter: string | undefined }> {
  const { port, hostname } = new URL(inject('shopApi'))
  const bytes = body === undefined ? undefined : Buffer.from(JSON.stringify(body))
  const own = ['host', 'localhost', ...(bytes ? ['content-length', String(bytes.length)] : [])]
  return new Promise((resolve, reject) => {
    const sent = httpRequest(
      { port, host: hostname, method: method.toUpperCase(), path, headers: [...own, ...headers] },
      (response) => {
        response.resume()
        const { statusCode: status = 0, headers } = response
        response.on('end', () => resolve({ status, retryAfter: headers['retry-after'] }))
      },
    )
    sent.on('error', reject)
    sent.end(bytes)
  })
}
