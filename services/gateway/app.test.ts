import { once } from 'node:events'
import { createServer, request as httpRequest, type IncomingHttpHeaders, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import * as fc from 'fast-check'
import { exportJWK, generateKeyPair, SignJWT } from 'jose'
import { pino } from 'pino'
import supertest from 'supertest'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createDapr, type Dapr } from '#lib/dapr.ts'
import { AppError } from '#lib/errors.ts'
import { createApp, type AppOptions } from './app.ts'
import { createClients } from './clients.ts'

// The application alone: no sidecar listens, so every request that passes validation ends in 503.
// Only the public keys are there.

const { publicKey, privateKey } = await generateKeyPair('ES256')
const jwksJson = JSON.stringify({ keys: [{ ...(await exportJWK(publicKey)), kid: 'k1', alg: 'ES256', use: 'sig' }] })

const token = (
  claims: {
    roles?: unknown
    iss?: string
    aud?: string
    exp?: string
    kid?: string
    key?: typeof privateKey
    alg?: string
    typ?: string
  } = {},
) =>
  new SignJWT({ roles: claims.roles ?? ['shopper'], sid: 's-1' })
    .setProtectedHeader({ alg: claims.alg ?? 'ES256', kid: claims.kid ?? 'k1', typ: claims.typ ?? 'at+jwt' })
    .setSubject('u-1')
    .setIssuer(claims.iss ?? 'sidecart')
    .setAudience(claims.aud ?? 'sidecart')
    .setIssuedAt()
    .setExpirationTime(claims.exp ?? '5m')
    .sign(claims.key ?? privateKey)

const shopper = `Bearer ${await token()}`
const seller = `Bearer ${await token({ roles: ['seller'] })}`

let dapr: Dapr
let server: Server
let port: number

function createTestApp(options: Partial<AppOptions> = {}) {
  const clients = createClients(dapr)
  return createApp({
    clients: { ...clients, users: { ...clients.users, getJwks: async () => ({ jwksJson }) } },
    log: pino({ level: 'silent' }),
    ready: async () => true,
    limits: { apiPer10s: 100_000, staffPer10s: 100_000, authPerMinute: 100_000 },
    ...options,
  })
}

beforeAll(async () => {
  // A port that was free a moment ago: nothing listens on it.
  const free = createServer().listen(0, '127.0.0.1')
  await once(free, 'listening')
  const { port: closed } = free.address() as AddressInfo
  await new Promise((resolve) => free.close(resolve))
  dapr = createDapr({ grpcPort: closed, httpPort: closed, apiToken: 'x' })
  server = createServer(createTestApp()).listen(0, '127.0.0.1')
  await once(server, 'listening')
  port = (server.address() as AddressInfo).port
})
afterAll(() => {
  server.close()
  dapr.close()
})

// oxlint-disable-next-line typescript/no-explicit-any -- asserted on, not typed
type Json = Record<string, any>
type Sent = { method?: string; path: string; headers?: [string, string][]; body?: string | Buffer }
type Got = { status: number; headers: IncomingHttpHeaders; text: string; json: Json }

/** Sends a request as is: higher-level clients repair bad ones. */
function raw({ method = 'GET', path, headers = [], body }: Sent): Promise<Got> {
  return new Promise((resolve, reject) => {
    const length = body === undefined ? [] : ['content-length', String(Buffer.byteLength(body))]
    const request = httpRequest(
      {
        port,
        host: '127.0.0.1',
        method,
        path,
        headers: ['host', 'localhost', ...length, ...headers.flat()],
        agent: false,
      },
      (response) => {
        const chunks: Buffer[] = []
        response.on('data', (chunk: Buffer) => chunks.push(chunk))
        response.on('end', () => {
          const text = Buffer.concat(chunks).toString()
          resolve({
            status: response.statusCode!,
            headers: response.headers,
            text,
            json: /[/+]json\b/.test(response.headers['content-type'] ?? '') ? JSON.parse(text) : {},
          })
        })
      },
    )
    request.on('error', reject)
    request.end(body)
  })
}

const json: [string, string] = ['content-type', 'application/json']
const as = (who: string): [string, string] => ['authorization', who]
const key: [string, string] = ['idempotency-key', 'k-1']
const post = (path: string, body: unknown, headers: [string, string][] = []): Sent => ({
  method: 'POST',
  path,
  headers: [json, ...headers],
  body: typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body),
})
const order = (lines: unknown, rest: Record<string, unknown> = {}) =>
  post('/v1/orders', { lines, payment: { method: 'pm_card_visa' }, ...rest }, [as(shopper), key])
const line = { sku: 'a', quantity: 1 }
const product = { title: 'T', variants: [{ sku: 'a', options: {}, price: { amount: 1, currency: 'USD' } }] }
const put = (change: Record<string, unknown>): Sent => ({
  ...post('/v1/products/a-thing', { ...product, ...change }, [as(seller)]),
  method: 'PUT',
})

const invalid: [what: string, sent: Sent, status: number, code: string, field?: string][] = [
  ['an unknown path', { path: '/v1/nothing' }, 404, 'route_not_found'],
  ['another letter case', { path: '/V1/products' }, 404, 'route_not_found'],
  ['a method that the path does not allow', { method: 'DELETE', path: '/v1/orders' }, 405, 'method_not_allowed'],
  ['a method that no path allows', { method: 'PROPFIND', path: '/v1/products' }, 405, 'method_not_allowed'],
  ['broken percent-encoding in a path', { path: '/v1/products/%zz' }, 400, 'bad_path', 'path'],
  ['a lone surrogate in a path', { path: '/v1/products/%ed%a0%80' }, 400, 'bad_path', 'path'],
  ['NUL in a path', { path: '/v1/products/a%00b' }, 400, 'invalid_field', 'productId'],
  ['a URL of 10,000 characters', { path: `/v1/products/${'a'.repeat(10_000)}` }, 414, 'uri_too_long'],
  ['an id of 300 characters', { path: `/v1/products/${'a'.repeat(300)}` }, 400, 'invalid_field', 'productId'],
  ['limit 0', { path: '/v1/products?limit=0' }, 400, 'invalid_field', 'limit'],
  ['limit 101', { path: '/v1/products?limit=101' }, 400, 'invalid_field', 'limit'],
  ['limit in hexadecimal', { path: '/v1/products?limit=0x10' }, 400, 'invalid_field', 'limit'],
  ['an empty limit', { path: '/v1/products?limit=' }, 400, 'invalid_field', 'limit'],
  ['a repeated limit', { path: '/v1/products?limit=1&limit=2' }, 400, 'repeated_parameter', 'limit'],
  [
    'a limit that some parsers read as an object',
    { path: '/v1/products?limit[a]=1' },
    400,
    'unknown_field',
    'limit[a]',
  ],
  ['an unknown parameter', { path: '/v1/products?order=price' }, 400, 'unknown_field', 'order'],
  ['a parameter of an operation without any', { path: '/v1/categories?x=1' }, 400, 'unknown_field', 'x'],
  ['__proto__ as a parameter', { path: '/v1/products?__proto__=1' }, 400, 'unknown_field', '__proto__'],
  ['broken percent-encoding in a query', { path: '/v1/products?category=%zz' }, 400, 'invalid_field', 'query'],
  ['an unknown sort', { path: '/v1/products?sort=cheap' }, 400, 'invalid_field', 'sort'],
  ['relevance without words', { path: '/v1/products?sort=relevance' }, 400, 'invalid_field', 'sort'],
  ['a price without a range', { path: '/v1/products?price=5' }, 400, 'invalid_field', 'price'],
  ['a price from more to less', { path: '/v1/products?price=5..4' }, 400, 'invalid_field', 'price'],
  ['an open price', { path: '/v1/products?price=..' }, 400, 'invalid_field', 'price'],
  ['an unknown facet', { path: '/v1/products?facets=vendor,colour' }, 400, 'invalid_field', 'facets'],
  ['a repeated facet', { path: '/v1/products?facets=vendor,vendor' }, 400, 'invalid_field', 'facets'],
  ['an attribute without a value', { path: '/v1/products?attr.color=' }, 400, 'invalid_field', 'attr.color'],
  ['an empty value', { path: '/v1/products?attr.color=red,,blue' }, 400, 'invalid_field', 'attr.color'],
  ['an attribute without a name', { path: '/v1/products?attr.=red' }, 400, 'invalid_field', 'attr.'],
  ['a repeated attribute', { path: '/v1/products?attr.a=1&attr.a=2' }, 400, 'repeated_parameter', 'attr.a'],
  ['neither true nor false', { path: '/v1/products?available=yes' }, 400, 'invalid_field', 'available'],
  ['a cursor of another list', { path: '/v1/products?cursor=eyJ9' }, 400, 'bad_cursor', 'cursor'],
  ['nothing to complete', { path: '/v1/products:suggest?q=' }, 400, 'invalid_field', 'q'],
  ['too many titles', { path: '/v1/products:suggest?q=a&limit=21' }, 400, 'invalid_field', 'limit'],
  ['an empty cursor', { path: '/v1/products?cursor=' }, 400, 'invalid_field', 'cursor'],
  [
    'a body for an operation without one',
    { ...post('/v1/categories', {}), method: 'GET' },
    400,
    'unknown_field',
    'body',
  ],

  ['no body', { method: 'POST', path: '/v1/users', headers: [json] }, 400, 'invalid_field', 'body'],
  [
    'another media type',
    { ...post('/v1/users', 'a=1'), headers: [['content-type', 'application/x-www-form-urlencoded']] },
    415,
    'unsupported_media_type',
    'Content-Type',
  ],
  ['no media type', { ...post('/v1/users', '{}'), headers: [] }, 415, 'unsupported_media_type', 'Content-Type'],
  [
    'another charset',
    { ...post('/v1/users', '{}'), headers: [['content-type', 'application/json; charset=utf-16']] },
    415,
    'unsupported_media_type',
    'Content-Type',
  ],
  [
    'a compressed body',
    post('/v1/users', '{}', [['content-encoding', 'gzip']]),
    415,
    'unsupported_media_type',
    'Content-Encoding',
  ],
  ['JSON cut short', post('/v1/users', '{"email":'), 400, 'bad_json', 'body'],
  ['bytes that are not UTF-8', post('/v1/users', Buffer.from([0x22, 0xff, 0x22])), 400, 'bad_json', 'body'],
  ['an array instead of an object', post('/v1/users', []), 400, 'invalid_field', 'body'],
  ['null instead of an object', post('/v1/users', 'null'), 400, 'invalid_field', 'body'],
  [
    'a body of 300 KiB',
    post('/v1/users', { email: 'a@b.example', password: 'x'.repeat(300 * 1024), name: 'A' }),
    413,
    'body_too_large',
    'body',
  ],
  [
    'nesting of 50,000 levels',
    post('/v1/users', `${'['.repeat(50_000)}${']'.repeat(50_000)}`),
    400,
    'invalid_field',
    '0.0.0.0.0',
  ],
  [
    'an unknown field',
    post('/v1/users', { email: 'a@b.example', password: '12345678', name: 'A', admin: true }),
    400,
    'unknown_field',
    'admin',
  ],
  [
    '__proto__ as a field',
    post('/v1/users', '{"email":"a@b.example","password":"12345678","name":"A","__proto__":{"roles":["admin"]}}'),
    400,
    'unknown_field',
    '__proto__',
  ],
  [
    'a number instead of text',
    post('/v1/users', { email: 'a@b.example', password: '12345678', name: 7 }),
    400,
    'invalid_field',
    'name',
  ],
  ['no email', post('/v1/users', { password: '12345678', name: 'A' }), 400, 'invalid_field', 'email'],
  [
    'a short password',
    post('/v1/users', { email: 'a@b.example', password: '1234567', name: 'A' }),
    400,
    'invalid_field',
    'password',
  ],
  [
    'a lone surrogate',
    post('/v1/users', '{"email":"a@b.example","password":"12345678","name":"\\ud800"}'),
    400,
    'invalid_field',
    'name',
  ],
  [
    'a NUL',
    post('/v1/users', '{"email":"a@b.example","password":"12345678","name":"a\\u0000"}'),
    400,
    'invalid_field',
    'name',
  ],
  [
    'a blank name',
    post('/v1/users', { email: 'a@b.example', password: '12345678', name: '  ' }),
    400,
    'invalid_field',
    'name',
  ],

  ['no token', { path: '/v1/users/me' }, 401, 'unauthenticated'],
  ['another scheme', { path: '/v1/users/me', headers: [as('Basic YTpi')] }, 401, 'bad_token'],
  ['no JWT', { path: '/v1/users/me', headers: [as('Bearer abc')] }, 401, 'bad_token'],
  ['a JWT of garbage', { path: '/v1/users/me', headers: [as('Bearer abc.def.ghi')] }, 401, 'bad_token'],
  [
    'an expired token',
    { path: '/v1/users/me', headers: [as(`Bearer ${await token({ exp: '-1h' })}`)] },
    401,
    'bad_token',
  ],
  ['another issuer', { path: '/v1/users/me', headers: [as(`Bearer ${await token({ iss: 'x' })}`)] }, 401, 'bad_token'],
  [
    'another audience',
    { path: '/v1/users/me', headers: [as(`Bearer ${await token({ aud: 'x' })}`)] },
    401,
    'bad_token',
  ],
  ['an unknown key', { path: '/v1/users/me', headers: [as(`Bearer ${await token({ kid: 'k2' })}`)] }, 401, 'bad_token'],
  [
    'the signature of another key',
    {
      path: '/v1/users/me',
      headers: [as(`Bearer ${await token({ key: (await generateKeyPair('ES256')).privateKey })}`)],
    },
    401,
    'bad_token',
  ],
  [
    'no signature',
    {
      path: '/v1/users/me',
      headers: [as(`Bearer ${Buffer.from('{"alg":"none"}').toString('base64url')}.${shopper.split('.')[1]}.x`)],
    },
    401,
    'bad_token',
  ],
  ['an id token', { path: '/v1/users/me', headers: [as(`Bearer ${await token({ typ: 'JWT' })}`)] }, 401, 'bad_token'],
  [
    'roles that are not a list',
    { path: '/v1/users/me', headers: [as(`Bearer ${await token({ roles: 'admin' })}`)] },
    401,
    'bad_token',
  ],
  [
    'two tokens',
    { path: '/v1/users/me', headers: [as(shopper), as(shopper)] },
    400,
    'repeated_header',
    'Authorization',
  ],
  ['a bad token where none is required', { path: '/v1/products/a', headers: [as('Bearer abc')] }, 401, 'bad_token'],
  [
    'a shopper who changes stock',
    { ...post('/v1/stock/a', { source: 's', quantity: 1 }, [as(shopper)]), method: 'PUT' },
    403,
    'forbidden',
  ],

  [
    'no Idempotency-Key',
    post('/v1/orders', { lines: [line], payment: { method: 'pm_card_visa' } }, [as(shopper)]),
    400,
    'invalid_field',
    'Idempotency-Key',
  ],
  [
    'an empty Idempotency-Key',
    post('/v1/orders', {}, [as(shopper), ['idempotency-key', '']]),
    400,
    'invalid_field',
    'Idempotency-Key',
  ],
  [
    'an Idempotency-Key of 256 characters',
    post('/v1/orders', {}, [as(shopper), ['idempotency-key', 'k'.repeat(256)]]),
    400,
    'invalid_field',
    'Idempotency-Key',
  ],
  [
    'an Idempotency-Key that is not ASCII',
    post('/v1/orders', {}, [as(shopper), ['idempotency-key', 'k\u00e9']]),
    400,
    'invalid_field',
    'Idempotency-Key',
  ],
  [
    'an Idempotency-Key with one quote',
    post('/v1/orders', {}, [as(shopper), ['idempotency-key', '"k-1']]),
    400,
    'invalid_field',
    'Idempotency-Key',
  ],
  ['two Idempotency-Keys', post('/v1/orders', {}, [as(shopper), key, key]), 400, 'repeated_header', 'Idempotency-Key'],
  ['no lines', order([]), 400, 'invalid_field', 'lines'],
  [
    '10,000 lines',
    order(Array.from({ length: 10_000 }, (_, i) => ({ sku: `s${i}`, quantity: 1 }))),
    413,
    'body_too_large',
    'body',
  ],
  [
    '5,000 lines',
    order(Array.from({ length: 5_000 }, (_, i) => ({ sku: `s${i}`, quantity: 1 }))),
    400,
    'invalid_field',
    'lines',
  ],
  ['a negative quantity', order([{ sku: 'a', quantity: -1 }]), 400, 'invalid_field', 'lines.0.quantity'],
  ['a quantity of 0', order([line, { sku: 'b', quantity: 0 }]), 400, 'invalid_field', 'lines.1.quantity'],
  ['half a unit', order([{ sku: 'a', quantity: 0.5 }]), 400, 'invalid_field', 'lines.0.quantity'],
  ['a quantity as text', order([{ sku: 'a', quantity: '1' }]), 400, 'invalid_field', 'lines.0.quantity'],
  [
    'an infinite quantity',
    post('/v1/orders', '{"lines":[{"sku":"a","quantity":1e999}],"payment":{"method":"pm_card_visa"}}', [
      as(shopper),
      key,
    ]),
    400,
    'invalid_field',
    'lines.0.quantity',
  ],
  ['a SKU in two lines', order([line, line]), 400, 'invalid_field', 'lines.1.sku'],
  ['a price in a line', order([{ ...line, unitPrice: 1 }]), 400, 'unknown_field', 'lines.0.unitPrice'],
  ['a card number', order([line], { payment: { method: '4242424242424242' } }), 400, 'invalid_field', 'payment.method'],
  [
    'a field in the body of cancel',
    post('/v1/orders/o-1/cancel', { reason: 'x' }, [as(shopper)]),
    400,
    'unknown_field',
    'reason',
  ],

  ['a handle in capitals', { ...put({}), path: '/v1/products/A-Thing' }, 400, 'invalid_field', 'productId'],
  [
    'a negative price',
    put({ variants: [{ sku: 'a', price: { amount: -1, currency: 'USD' } }] }),
    400,
    'invalid_field',
    'variants.0.price.amount',
  ],
  [
    'a price in fractions of cents',
    put({ variants: [{ sku: 'a', price: { amount: 1.5, currency: 'USD' } }] }),
    400,
    'invalid_field',
    'variants.0.price.amount',
  ],
  [
    'a currency in lower case',
    put({ variants: [{ sku: 'a', price: { amount: 1, currency: 'usd' } }] }),
    400,
    'invalid_field',
    'variants.0.price.currency',
  ],
  [
    'a SKU in two variants',
    put({ variants: [product.variants[0], product.variants[0]] }),
    400,
    'invalid_field',
    'variants.1.sku',
  ],
  ['a script as an image', put({ images: ['javascript:alert(1)'] }), 400, 'invalid_field', 'images.0'],
  [
    '__proto__ deep in the attributes',
    { ...put({}), body: '{"attributes":{"a":{"__proto__":1}}}' },
    400,
    'unknown_field',
    'attributes.a.__proto__',
  ],
  ['an empty change', { ...post('/v1/products/a', {}, [as(seller)]), method: 'PATCH' }, 400, 'invalid_field', 'body'],
  [
    'an adjustment by 0',
    post('/v1/stock/a/adjustments', { id: 'x', delta: 0 }, [as(seller)]),
    400,
    'invalid_field',
    'delta',
  ],
  [
    'a negative quantity in stock',
    { ...post('/v1/stock/a', { source: 's', quantity: -1 }, [as(seller)]), method: 'PUT' },
    400,
    'invalid_field',
    'quantity',
  ],
]

describe('bad input returns a problem that names the field', () => {
  test.each(invalid)('%s', async (_what, sent, status, code, field) => {
    const got = await raw(sent)
    expect({ status: got.status, code: got.json.code, type: got.headers['content-type'] }).toEqual({
      status,
      code,
      type: 'application/problem+json',
    })
    expect(got.json).toMatchObject({
      status,
      title: expect.any(String),
      detail: expect.any(String),
      instance: expect.any(String),
    })
    const fields: string[] = got.json.errors?.map((e: { field: string }) => e.field) ?? []
    expect(field === undefined || fields.includes(field), `${field} is among ${fields.join(', ')}`).toBe(true)
    expect(got.text).not.toMatch(/\bat .*\.[tj]s:|node_modules|Error:/)
    expect(got.headers['x-request-id']).toBeTruthy()
  })
})

describe('a valid request', () => {
  test('gets 503 with Retry-After within 3 s while the sidecar is down', async () => {
    const started = performance.now()
    const got = await raw(order([line]))
    expect(got).toMatchObject({ status: 503, headers: { 'retry-after': '1' }, json: { code: 'unavailable' } })
    expect(got.text).not.toMatch(/127\.0\.0\.1|ECONN|UNAVAILABLE/)
    expect(performance.now() - started).toBeLessThan(3_000)
  })

  test('gets 503, not 401, while the keys to verify tokens are unavailable', async () => {
    const { status } = await supertest(createTestApp({ clients: createClients(dapr) }))
      .get('/v1/users/me')
      .set('authorization', shopper)
    expect(status).toBe(503)
  })

  const valid: [string, Sent][] = [
    ['a product without optional fields', put({})],
    [
      'letters outside ASCII',
      put({
        title: 'Töpfe 🪴 für 花',
        variants: [{ sku: 'ü/ä b', options: { Größe: 'XL' }, price: { amount: 0, currency: 'EUR' } }],
      }),
    ],
    ['attributes of any form', put({ attributes: { 'a.b': [1, { $c: null }], constructor: true } })],
    [
      'a password of 8 characters outside the basic plane',
      post('/v1/users', { email: 'ä@bücher.example', password: '🪴'.repeat(8), name: "O'Neil" }),
    ],
    ['cancel without a body', { method: 'POST', path: '/v1/orders/o-1/cancel', headers: [as(shopper)] }],
    ['cancel with an empty object', post('/v1/orders/o-1/cancel', {}, [as(shopper)])],
    ['a SKU with a slash in a path', { path: '/v1/stock/a%2Fb', headers: [as(seller)] }],
    [
      'charset in the media type',
      {
        ...post('/v1/sessions', { email: 'a@b', password: 'x' }),
        headers: [['content-type', 'application/json;charset=UTF-8']],
      },
    ],
  ]
  test.each(valid)('passes validation: %s', async (_what, sent) => {
    expect(await raw(sent)).toMatchObject({ status: 503 })
  })
})

describe('products in bulk', () => {
  const send = (body: string | Buffer, type = 'application/x-ndjson', by = seller) =>
    raw({
      method: 'POST',
      path: '/v1/products:bulk',
      headers: [
        ['authorization', by],
        ['content-type', type],
      ],
      body,
    })
  const product = (o: object = {}) => ({
    handle: 'pot',
    title: 'Pot',
    variants: [{ sku: 'POT', price: { amount: 1, currency: 'USD' }, stock: 3 }],
    ...o,
  })
  const lines = (...values: unknown[]) => values.map((value) => JSON.stringify(value)).join('\n')

  test('have an answer for each line, by its number', async () => {
    const { status, headers, text } = await send(
      ['{', '', '[]', lines(product({ title: '' }), product({ colour: 'red' })), '"\\ud800"', ''].join('\r\n'),
    )
    expect(status).toBe(200)
    expect(headers['content-type']).toMatch(/^application\/x-ndjson/)
    const answers = text
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line))
    expect(answers.map((a) => [a.line, a.outcome, a.problem.code, a.problem.errors[0].field])).toEqual([
      [1, 'refused', 'bad_json', 'line'],
      [3, 'refused', 'invalid_field', 'line'],
      [4, 'refused', 'invalid_field', 'title'],
      [5, 'refused', 'unknown_field', 'colour'],
      [6, 'refused', 'invalid_field', 'line'],
    ])
  })

  test('of which none could be written are a 503', async () => {
    expect(await send(lines(product(), product({ handle: 'vase' })))).toMatchObject({ status: 503 })
  })

  test.each([
    ['no line', '\n\n', 400],
    ['too many lines', '{}\n'.repeat(1_001), 400],
    ['too many bytes', 'x'.repeat(4 * 1024 * 1024 + 1), 413],
  ])('with %s are refused', async (_, body, status) => {
    expect(await send(body)).toMatchObject({ status })
  })

  test('are for sellers, and JSON lines', async () => {
    expect(await send('{}', 'application/x-ndjson', shopper)).toMatchObject({ status: 403 })
    expect(await send('{}', 'application/json')).toMatchObject({ status: 415 })
  })
})

test('a path with a colon is one path, and a parameter that takes many may be repeated', async () => {
  const get = (path: string) => raw({ path }).then(({ status, json }) => [status, json['code'] ?? ''])
  expect(await get('/v1/products:batch?sku=a&sku=b')).toEqual([503, 'unavailable'])
  expect(await get('/v1/products:batch')).toEqual([400, 'invalid_field'])
  expect(await get(`/v1/products:batch?${'sku=a&'.repeat(101)}`)).toEqual([400, 'invalid_field'])
  expect(await get('/v1/productsbatch?sku=a')).toEqual([404, 'route_not_found'])
  expect(await get('/v1/products:other')).toEqual([404, 'route_not_found'])
})

test('no JSON causes a 500', async () => {
  const anything = fc.oneof(
    fc.jsonValue({ maxDepth: 4, stringUnit: 'binary' }),
    fc.record(
      {
        lines: fc.oneof(
          fc.jsonValue(),
          fc.array(
            fc.record(
              {
                sku: fc.oneof(fc.string({ unit: 'binary' }), fc.jsonValue()),
                quantity: fc.oneof(fc.double(), fc.integer(), fc.jsonValue()),
              },
              { requiredKeys: [] },
            ),
          ),
        ),
        payment: fc.oneof(
          fc.jsonValue(),
          fc.record({ method: fc.oneof(fc.string({ unit: 'binary' }), fc.jsonValue()) }),
        ),
      },
      { requiredKeys: [] },
    ),
  )
  await fc.assert(
    fc.asyncProperty(
      anything,
      fc.constantFrom('/v1/orders', '/v1/users', '/v1/sessions', '/v1/sessions/refresh'),
      async (value, path) => {
        const { status, headers } = await raw(post(path, JSON.stringify(value), [as(shopper), key]))
        expect([400, 503]).toContain(status)
        expect(headers['content-type']).toBe('application/problem+json')
      },
    ),
    { numRuns: 150 },
  )
}, 60_000)

describe('responses carry', () => {
  test("the client's request id if it is valid, otherwise a new one", async () => {
    expect((await raw({ path: '/livez', headers: [['x-request-id', 'abc-1']] })).headers['x-request-id']).toBe('abc-1')
    for (const id of ['a b', 'x'.repeat(200)])
      expect((await raw({ path: '/livez', headers: [['x-request-id', id]] })).headers['x-request-id']).toMatch(
        /^[\w-]{36}$/,
      )
  })

  test('an ETag, and If-None-Match saves the body', async () => {
    const first = await raw({ path: '/openapi.json' })
    expect(await raw({ path: '/openapi.json', headers: [['if-none-match', first.headers.etag!]] })).toMatchObject({
      status: 304,
      text: '',
    })
  })

  test('security headers, and none that reveals the server', async () => {
    const { headers } = await raw({ path: '/v1/nothing' })
    expect(headers).toMatchObject({
      'x-content-type-options': 'nosniff',
      'content-security-policy': "default-src 'none';frame-ancestors 'none'",
    })
    expect(headers['x-powered-by']).toBeUndefined()
  })

  test('the allowed methods with OPTIONS and with 405', async () => {
    expect(await raw({ method: 'OPTIONS', path: '/v1/orders' })).toMatchObject({
      status: 204,
      headers: { allow: 'POST, GET, HEAD, OPTIONS' },
    })
    expect(await raw({ method: 'DELETE', path: '/v1/orders' })).toMatchObject({
      headers: { allow: 'POST, GET, HEAD, OPTIONS' },
    })
  })

  test('a challenge with 401', async () => {
    expect((await raw({ path: '/v1/users/me' })).headers['www-authenticate']).toBe('Bearer realm="sidecart"')
    expect((await raw({ path: '/v1/users/me', headers: [as('Bearer a.b.c')] })).headers['www-authenticate']).toBe(
      'Bearer realm="sidecart", error="invalid_token"',
    )
  })

  test('CORS headers for listed origins only', async () => {
    const app = createTestApp({ corsOrigins: ['https://shop.example'] })
    const listed = await supertest(app).get('/openapi.json').set('origin', 'https://shop.example')
    expect(listed.headers['access-control-allow-origin']).toBe('https://shop.example')
    const other = await supertest(app).get('/openapi.json').set('origin', 'https://evil.example')
    expect(other.headers['access-control-allow-origin']).toBeUndefined()
  })
})

describe('limits', () => {
  const limits = { apiPer10s: 2, staffPer10s: 100, authPerMinute: 1 }

  test('too many requests from one address get 429 with Retry-After; health checks still work', async () => {
    const api = supertest(createTestApp({ limits }))
    await api.get('/v1/nothing')
    await api.get('/v1/nothing')
    const refused = await api.get('/v1/nothing').expect(429)
    expect(refused.headers).toMatchObject({
      'retry-after': expect.any(String),
      'ratelimit-policy': expect.stringContaining('q=2'),
    })
    expect(refused.body.code).toBe('too_many_requests')
    await api.get('/livez').expect(200)
    await api.get('/readyz').expect(200)
  })

  test('log-ins have a tight limit for all, writes by sellers a wide one, accounts made by sellers none', async () => {
    const api = supertest(createTestApp({ limits }))
    const statuses: number[] = []
    const send = async (path: string, headers: Record<string, string> = {}) =>
      statuses.push((await api.post(path).set(headers).send({})).status)
    await send('/v1/sessions')
    await send('/v1/sessions', { authorization: seller })
    await send('/v1/users')
    await send('/v1/users')
    await send('/v1/users', { authorization: seller })
    for (let i = 0; i < 5; i++) await send('/v1/categories', { authorization: seller })
    expect(statuses).toEqual([400, 429, 400, 429, 400, 400, 400, 400, 400, 400])
  })
})

describe('Idempotency-Key', () => {
  const placed = {
    id: 'o-1',
    userId: 'u-1',
    status: 1,
    reason: '',
    lines: [],
    total: { amount: 1, currency: 'USD' },
    placedAt: '2026-01-01T00:00:00.000Z',
    updatedAt: '2026-01-01T00:00:00.000Z',
    history: [{ status: 1, at: '2026-01-01T00:00:00.000Z' }],
    payment: { status: 1, refunded: { amount: 0, currency: 'USD' } },
  }
  const body = { lines: [line], payment: { method: 'pm_card_visa' } }

  /** An app behind which `placeOrder` is what orders would do. */
  function appWith(placeOrder: (request: { idempotencyKey: string }) => Promise<unknown>) {
    const clients = createClients(dapr)
    const orders = { ...clients.orders, placeOrder } as unknown as typeof clients.orders
    const users = { ...clients.users, getJwks: async () => ({ jwksJson }) }
    return supertest(createTestApp({ clients: { ...clients, orders, users } }))
  }
  const send = (api: ReturnType<typeof appWith>, sentKey: string, sent: object = body) =>
    api.post('/v1/orders').set({ authorization: shopper, 'idempotency-key': sentKey }).send(sent)

  test('reaches orders, with quotes or without, and the answer of a repeat is marked', async () => {
    const keys: string[] = []
    const api = appWith(async ({ idempotencyKey }) => {
      keys.push(idempotencyKey)
      return { order: placed, replayed: keys.length > 1 }
    })
    const first = await send(api, 'k-1').expect(202)
    const second = await send(api, '"k-1"').expect(202)
    expect(keys).toEqual(['k-1', 'k-1'])
    expect(first.headers).not.toHaveProperty('idempotent-replayed')
    expect(second.headers).toMatchObject({ 'idempotent-replayed': 'true', location: '/v1/orders/o-1' })
    expect(second.body).toEqual(first.body)
    expect(first.body).toMatchObject({
      payment: { status: 'NONE', refunded: { amount: 0, currency: 'USD' } },
      history: [{ status: 'PENDING', at: '2026-01-01T00:00:00.000Z' }],
    })
  })

  test('of two requests at once, the second is refused while the first is in hand', async () => {
    const { promise: held, resolve: release } = Promise.withResolvers<void>()
    const { promise: begun, resolve: begin } = Promise.withResolvers<void>()
    const api = appWith(async () => {
      begin()
      await held
      return { order: placed, replayed: false }
    })
    const first = send(api, 'k-1').then((answer) => answer.status)
    await begun
    const same = await send(api, 'k-1').expect(409)
    expect(same.body).toMatchObject({ code: 'request_in_progress', errors: [{ field: 'Idempotency-Key' }] })
    expect(same.headers['retry-after']).toBe('1')
    const other = await send(api, 'k-1', { ...body, lines: [{ ...line, quantity: 2 }] }).expect(422)
    expect(other.body).toMatchObject({ code: 'idempotency_key_reused', errors: [{ field: 'Idempotency-Key' }] })
    release()
    expect(await first).toBe(202)
    await send(api, 'k-1').expect(202)
  })

  test('after a refusal that left nothing behind, the key is free', async () => {
    let busy = true
    const api = appWith(async () => {
      if (busy) throw new AppError('unavailable', 'orders_busy', 'too many orders are waiting')
      return { order: placed, replayed: false }
    })
    const refused = await send(api, 'k-1').expect(503)
    expect(refused.body).toMatchObject({ code: 'orders_busy', type: '/docs#problem-orders_busy' })
    expect(refused.headers['retry-after']).toBe('1')
    busy = false
    await send(api, 'k-1').expect(202)
  })

  test('a total that is not the expected one is refused with the prices', async () => {
    const fields = [
      { field: 'expectedTotal', message: 'is now 2 USD (minor units)' },
      { field: 'lines.0.unitPrice', message: 'is now 2 USD (minor units)' },
    ]
    const requests: unknown[] = []
    const api = appWith(async (request) => {
      requests.push(request)
      throw new AppError('rejected', 'price_changed', 'the total is now 2 USD', { fields })
    })
    const expectedTotal = { amount: 1, currency: 'USD' }
    const refused = await send(api, 'k-1', { ...body, expectedTotal }).expect(422)
    expect(refused.body).toMatchObject({ code: 'price_changed', errors: fields })
    expect(requests).toEqual([expect.objectContaining({ expectedTotal })])
  })
})

describe('/openapi.json and /docs', () => {
  test('the document describes every operation with its success, problems and path parameters', async () => {
    const { json: document } = await raw({ path: '/openapi.json' })
    expect(document.openapi).toBe('3.1.0')
    for (const [path, methods] of Object.entries<Json>(document.paths)) {
      for (const [method, operation] of Object.entries(methods)) {
        const statuses = Object.keys(operation.responses)
        expect(
          statuses.some((s) => s.startsWith('2')),
          `${method} ${path}`,
        ).toBe(true)
        expect(statuses, `${method} ${path}`).toEqual(expect.arrayContaining(['400', '429', '500', '503']))
        for (const name of path.matchAll(/\{(\w+)\}/g))
          expect(operation.parameters, `${method} ${path}`).toContainEqual(
            expect.objectContaining({ name: name[1], in: 'path', required: true }),
          )
      }
    }
    expect(document.paths['/v1/orders'].post.parameters).toContainEqual(
      expect.objectContaining({ name: 'Idempotency-Key', in: 'header', required: true }),
    )
    for (const path of ['/v1/orders/{orderId}/cancel', '/v1/users', '/v1/products'])
      expect(document.paths[path].post.parameters).toContainEqual(
        expect.objectContaining({ name: 'Idempotency-Key', in: 'header' }),
      )
    expect(document.components.schemas.OrderPlacement.additionalProperties).toBe(false)
  })

  test('every reference in it resolves', async () => {
    const { text, json: document } = await raw({ path: '/openapi.json' })
    const refs = new Set([...text.matchAll(/"\$ref":"#\/([^"]+)"/g)].map(([, ref]) => ref!))
    const broken = [...refs].filter(
      (ref) => ref.split('/').reduce<Json | undefined>((at, part) => at?.[part], document) === undefined,
    )
    expect({ some: refs.size > 5, broken }).toEqual({ some: true, broken: [] })
  })

  test('the page loads nothing from elsewhere', async () => {
    const page = await raw({ path: '/docs' })
    expect(page.headers['content-security-policy']).toContain("script-src 'self'")
    expect(page.text).not.toMatch(/(src|href)="(https?:)?\/\//)
    for (const [, path] of page.text.matchAll(/(?:src|href)="(\/[^"]+)"/g))
      expect(await raw({ path: path! })).toMatchObject({ status: 200 })
  })
})
