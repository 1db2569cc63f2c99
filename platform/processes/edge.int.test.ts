// The edge's nginx with edge/nginx.conf, in front of a server that says what reached it. With the
// shop behind it: e2e/edge.test.ts.
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { Agent, createServer, request, type IncomingHttpHeaders, type Server, type ServerResponse } from 'node:http'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { startChild, type Child } from '../child.ts'
import { freePorts } from '../free-ports.ts'
import { ensureOptionalPart } from '../parts/ensure.ts'
import { poll } from '../poll.ts'
import { createProgress } from '../progress.ts'
import { edgeIncludes, nginxCommand, type EdgePlace } from './edge.ts'
import { root } from './paths.ts'

const nginx = await ensureOptionalPart('nginx', createProgress())

type Received = { method: string; url: string; headers: IncomingHttpHeaders; body: Buffer; socket: number }

type Edge = {
  port: number
  child: Child
  /** Starts nginx once more, with the same files. */
  startAgain: () => Child
  masterPid: () => number
  /** What reached the server behind the edge. */
  received: Received[]
  /** Stops and starts that server. */
  stopServer: () => Promise<void>
  startServer: () => Promise<void>
  /** The lines of the access log. */
  log: () => Record<string, unknown>[]
}

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

type Answer = (response: ServerResponse, request: Received) => void

/** Starts an edge in front of a server that answers with `answer`, or else 200 and some JSON. */
async function startEdge({ answer = ok, ...place }: Partial<EdgePlace> & { answer?: Answer } = {}): Promise<Edge> {
  const [port = 0, fillerPort = 0, gatewayPort = 0] = await freePorts(3)
  const received: Received[] = []
  let sockets = 0
  let server: Server
  const startServer = async () => {
    server = createServer({ keepAliveTimeout: 30_000 }, (incoming, response) => {
      const chunks: Buffer[] = []
      incoming.on('data', (chunk: Buffer) => chunks.push(chunk))
      incoming.on('end', () => {
        const { method = '', url = '', headers } = incoming
        const socket = socketNumbers.get(incoming.socket) ?? 0
        const own = { method, url, headers, body: Buffer.concat(chunks), socket }
        received.push(own)
        answer(response, own)
      })
    })
    const socketNumbers = new WeakMap<object, number>()
    server.on('connection', (socket) => socketNumbers.set(socket, (sockets += 1)))
    server.listen(gatewayPort, '127.0.0.1')
    await once(server, 'listening')
  }
  const stopServer = async () => {
    server.close()
    server.closeAllConnections()
    await once(server, 'close')
  }
  await startServer()

  const folder = mkdtempSync(join(tmpdir(), 'sidecart-edge-'))
  const files = {
    'nginx.conf': readFileSync(join(root, 'edge', 'nginx.conf'), 'utf8'),
    ...edgeIncludes({
      listen: [`127.0.0.1:${port}`],
      fillerPort,
      gateway: `127.0.0.1:${gatewayPort}`,
      limits: { requestsPerSecond: 1_000, burst: 1_000, connections: 1_000 },
      trustedProxies: [],
      ...place,
    }),
  }
  mkdirSync(join(folder, 'place'))
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text)
  const output = join(folder, 'output')
  if (nginx === undefined || nginx.from === 'address') throw new Error('no nginx')
  // Into a file: nginx cannot open the socket that Node gives to a child as /dev/stdout.
  const command = nginxCommand(nginx.path, folder)
  const startNginx = () => startChild('sh', ['-c', 'exec "$@" >> "$0" 2>&1', output, ...command])
  const child = startNginx()
  const startAgain = () => {
    const next = startNginx()
    closers.push(() => next.kill())
    return next
  }
  closers.push(
    () => rmSync(folder, { recursive: true }),
    () => server.listening && stopServer(),
    () => child.kill(),
  )
  const edge = {
    port,
    child,
    startAgain,
    masterPid: () => Number(readFileSync(join(folder, 'nginx.pid'), 'utf8')),
    received,
    startServer,
    stopServer,
    log: () =>
      readFileSync(output, 'utf8')
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line) as Record<string, unknown>),
  }
  await child
    .ready('nginx answers', async () => (await send(edge, '/edge/livez')).status === 200)
    .catch((error: Error) => {
      throw new Error(`${error.message}\n${readFileSync(output, 'utf8')}`)
    })
  return edge
}

const ok: Answer = (response) => void response.setHeader('Content-Type', 'application/json').end('{"ok":true}')

type SendOptions = { method?: string; headers?: IncomingHttpHeaders; body?: Buffer; agent?: Agent }
type Response = { status: number; headers: IncomingHttpHeaders; text: string }

/** Sends a request by node:http, since fetch tidies up paths and headers. */
function send({ port }: Pick<Edge, 'port'>, path: string, options: SendOptions = {}): Promise<Response> {
  const { method = 'GET', headers = {}, body, agent } = options
  return new Promise((resolve, reject) => {
    const sent = request({ port, host: '127.0.0.1', path, method, headers, agent: agent ?? false }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('end', () =>
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          text: Buffer.concat(chunks).toString(),
        }),
      )
    })
    sent.on('error', reject)
    sent.end(body)
  })
}

function problem({ status, headers, text }: Response): Record<string, unknown> {
  expect(headers['content-type']).toBe('application/problem+json')
  const body = JSON.parse(text) as Record<string, unknown>
  expect(body).toMatchObject({ status, requestId: headers['x-request-id'] })
  return body
}

describe.skipIf(nginx === undefined)('the edge', () => {
  const traceId = '4bf92f3577b34da6a3ce929d0e0e4736'
  const traceparent = `00-${traceId}-00f067aa0ba902b7-01`

  it('passes on a request as it was sent, with its trace', async () => {
    const edge = await startEdge()
    const path = "/v1//stock/%F0%9F%8F%BA%2F%3F%20|%7C'?q=%22a+b%22&q=&x=//"
    const answer = await send(edge, path, {
      method: 'PUT',
      headers: { traceparent, accept: 'a' },
      body: Buffer.from('{}'),
    })
    expect(answer).toMatchObject({ status: 200, text: '{"ok":true}' })
    expect(answer.headers['server']).toBe('nginx')
    expect(edge.received).toMatchObject([{ method: 'PUT', url: path, headers: { traceparent, accept: 'a' } }])
  })

  it("keeps a client's valid request id, makes one for any other, and logs both without queries", async () => {
    const edge = await startEdge()
    for (const id of ['mine:1', 'not "valid"', 'x'.repeat(129)])
      await send(edge, '/v1/users/me?secret=1', { headers: { 'x-request-id': id, traceparent } })
    const ids = edge.received.map(({ headers }) => headers['x-request-id'])
    expect(ids).toEqual(['mine:1', expect.stringMatching(/^[0-9a-f]{32}$/), expect.stringMatching(/^[0-9a-f]{32}$/)])
    const lines = await poll('three lines', () => edge.log().length === 3 && edge.log())
    // Two workers answer, and each writes its line after its answer: the lines are in no order.
    expect(lines.map(({ requestId }) => requestId).toSorted()).toEqual(ids.toSorted())
    expect(lines.find(({ requestId }) => requestId === 'mine:1')).toMatchObject({
      service: 'edge',
      traceId,
      client: '127.0.0.1',
      method: 'GET',
      path: '/v1/users/me',
      status: 200,
      upstreamStatus: '200',
    })
    expect(JSON.stringify(lines)).not.toContain('secret')
  })

  it('logs the trace that the gateway began, where the client sent none', async () => {
    const began = `00-${traceId.replace('4', 'a')}-00f067aa0ba902b7-01`
    const edge = await startEdge({
      answer: (response, own) => ok(response.setHeader('traceparent', began) as ServerResponse, own),
    })
    await send(edge, '/')
    const [line] = await poll('a line', () => edge.log().length === 1 && edge.log())
    expect(line).toMatchObject({ traceId: traceId.replace('4', 'a') })
  })

  const forwarded = { 'x-forwarded-for': '9.9.9.9', 'x-forwarded-proto': 'https', 'x-forwarded-host': 'evil.example' }

  it('appends to X-Forwarded-For, and believes a stranger neither his address nor his protocol', async () => {
    const edge = await startEdge()
    await send(edge, '/', { headers: { ...forwarded, forwarded: 'for=9.9.9.9' } })
    const { headers } = edge.received[0]!
    expect(headers).toMatchObject({ 'x-forwarded-for': '9.9.9.9, 127.0.0.1', 'x-forwarded-proto': 'http' })
    expect(headers).not.toHaveProperty('x-forwarded-host')
    expect(headers).not.toHaveProperty('forwarded')
  })

  it('takes both from a trusted proxy, and limits the client that it names', async () => {
    const limits = { requestsPerSecond: 1, burst: 1, connections: 10 }
    const edge = await startEdge({ trustedProxies: ['127.0.0.0/8'], limits })
    const statuses: number[] = []
    for (const client of ['9.9.9.9', '9.9.9.9', '9.9.9.9', '8.8.8.8']) {
      const headers = { ...forwarded, 'x-forwarded-for': `1.1.1.1, ${client}` }
      statuses.push((await send(edge, '/', { headers })).status)
    }
    expect(statuses).toEqual([200, 200, 429, 200])
    expect(edge.received[0]!.headers).toMatchObject({
      // The last one counts: TRUST_PROXY_HOPS is 1.
      'x-forwarded-for': '1.1.1.1, 9.9.9.9, 9.9.9.9',
      'x-forwarded-proto': 'https',
    })
  })

  it('passes on a body of 256 KiB byte by byte, and refuses a larger one with a problem', async () => {
    const edge = await startEdge()
    const body = Buffer.from(Array.from({ length: 256 * 1024 }, (_, i) => i % 251))
    expect((await send(edge, '/v1/users', { method: 'POST', body })).status).toBe(200)
    expect(edge.received[0]!.body.equals(body)).toBe(true)
    for (const headers of [{}, { 'transfer-encoding': 'chunked' }]) {
      const larger = await send(edge, '/v1/users', { method: 'POST', headers, body: Buffer.concat([body, body]) })
      expect(problem(larger)).toMatchObject({ status: 413, code: 'body_too_large', errors: [{ field: 'body' }] })
    }
    expect(edge.received).toHaveLength(1)
  })

  it('takes 4 MiB of products in one request, and says how much that is', async () => {
    const edge = await startEdge()
    const body = Buffer.alloc(4 * 1024 * 1024, 'x')
    const path = '/v1/products:bulk?source=a'
    expect((await send(edge, path, { method: 'POST', body })).status).toBe(200)
    expect(edge.received[0]!.body.length).toBe(body.length)
    const larger = await send(edge, path, { method: 'POST', body: Buffer.concat([body, Buffer.from('x')]) })
    expect(problem(larger)).toMatchObject({ status: 413, detail: 'The body must be at most 4194304 bytes' })
  })

  it('answers 429 with Retry-After to one client too many, and never for its health', async () => {
    const edge = await startEdge({ limits: { requestsPerSecond: 1, burst: 2, connections: 10 } })
    const answers = await Promise.all(Array.from({ length: 8 }, () => send(edge, '/v1/products')))
    expect(answers.map(({ status }) => status).toSorted()).toEqual([200, 200, 200, 429, 429, 429, 429, 429])
    const refused = answers.find(({ status }) => status === 429)!
    expect(refused.headers['retry-after']).toBe('1')
    expect(problem(refused)).toMatchObject({ code: 'too_many_requests', instance: '/v1/products' })
    expect((await send(edge, '/edge/livez')).status).toBe(200)
  })

  it('answers 429 to a client with too many requests at once', async () => {
    const held: ServerResponse[] = []
    const limits = { requestsPerSecond: 1_000, burst: 1_000, connections: 2 }
    const edge = await startEdge({ limits, answer: (response) => void held.push(response) })
    const first = [send(edge, '/'), send(edge, '/')]
    await poll('two requests are held', () => held.length === 2)
    expect(problem(await send(edge, '/'))).toMatchObject({ status: 429, code: 'too_many_requests' })
    for (const response of held) response.end()
    expect((await Promise.all(first)).map(({ status }) => status)).toEqual([200, 200])
  })

  it('answers 503 at once while the gateway is gone, and is back when it is', async () => {
    const edge = await startEdge()
    await edge.stopServer()
    const started = performance.now()
    const gone = await send(edge, '/v1/products?q=1', { headers: { traceparent } })
    expect(performance.now() - started).toBeLessThan(500)
    expect(gone.headers['retry-after']).toBe('1')
    expect(problem(gone)).toMatchObject({
      type: '/docs#problem-unavailable',
      status: 503,
      code: 'unavailable',
      instance: '/v1/products',
      traceId,
    })
    await edge.startServer()
    expect((await send(edge, '/v1/products')).status).toBe(200)
  })

  it('answers 504 to a request that the gateway does not', async () => {
    const edge = await startEdge({ answer: () => {} })
    const answer = await send(edge, '/v1/products')
    expect(problem(answer)).toMatchObject({ status: 504, code: 'timeout' })
    expect(edge.received).toHaveLength(1)
  })

  it('repeats what may be repeated when a kept connection is closed under it, and nothing else', async () => {
    // Each connection serves one request and is closed when the next one is there, as by a gateway
    // that stops at that moment.
    const served = new Set<number>()
    const edge = await startEdge({
      answer: (response, own) => {
        if (served.has(own.socket)) return void response.destroy()
        served.add(own.socket)
        ok(response, own)
      },
    })
    const second = async (method: string, path: string) => {
      // Both workers get a kept connection.
      for (let i = 0; i < 8; i += 1) await send(edge, '/v1/products')
      return (await send(edge, path, { method, body: Buffer.from('{}') })).status
    }
    expect(await second('GET', '/v1/products')).toBe(200)
    expect(await second('PUT', '/v1/products/a')).toBe(200)
    expect(await second('POST', '/v1/orders')).toBe(200)
    expect(await second('POST', '/v1/orders/a/cancel')).toBe(200)
    expect(await second('POST', '/v1/stock/a/adjustments')).toBe(200)
    expect(await second('POST', '/v1/users')).toBe(503)
  })

  it('keeps connections to the gateway', async () => {
    const edge = await startEdge()
    for (let i = 0; i < 20; i += 1) await send(edge, '/')
    // One for each of the two workers.
    expect(new Set(edge.received.map(({ socket }) => socket)).size).toBeLessThanOrEqual(2)
  })

  it('compresses JSON of some size for those who want it', async () => {
    const long = JSON.stringify({ text: 'long '.repeat(1_000) })
    const edge = await startEdge({
      answer: (response) =>
        void response.writeHead(200, { 'Content-Type': 'application/json; charset=utf-8', ETag: 'W/"1"' }).end(long),
    })
    const [plain, packed] = await Promise.all([
      send(edge, '/'),
      send(edge, '/', { headers: { 'accept-encoding': 'gzip' } }),
    ])
    expect(plain).toMatchObject({ text: long, headers: { vary: 'Accept-Encoding', etag: 'W/"1"' } })
    expect(packed.headers).toMatchObject({ 'content-encoding': 'gzip', vary: 'Accept-Encoding', etag: 'W/"1"' })
    expect(packed.text.length).toBeLessThan(long.length / 4)
  })

  it("passes on the gateway's own problems unchanged", async () => {
    const body = '{"status":503,"code":"users_unavailable"}'
    const edge = await startEdge({
      answer: (response) =>
        void response.writeHead(503, { 'Content-Type': 'application/problem+json', 'Retry-After': '7' }).end(body),
    })
    const { status, headers, text } = await send(edge, '/v1/users')
    expect({ status, text, retry: headers['retry-after'] }).toEqual({ status: 503, text: body, retry: '7' })
  })

  it.each([
    ['a path that is no path', 'GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n', 400, 'bad_request'],
    ['a path that would break out of the JSON', 'GET /%zz","code":"x HTTP/1.1\r\nHost: x\r\n\r\n', 400, 'bad_request'],
    ['no HTTP', 'hello\r\n\r\n', 400, 'bad_request'],
    ['no host', 'GET / HTTP/1.1\r\n\r\n', 400, 'bad_request'],
    ['a method that nginx refuses', 'TRACE /v1/users HTTP/1.1\r\nHost: x\r\n\r\n', 405, 'method_not_allowed'],
    ['a URL of 20,000 characters', `GET /${'a'.repeat(20_000)} HTTP/1.1\r\nHost: x\r\n\r\n`, 414, 'uri_too_long'],
    ['a header of 20,000', `GET / HTTP/1.1\r\nHost: x\r\nA: ${'a'.repeat(20_000)}\r\n\r\n`, 431, 'headers_too_large'],
    ['its own internals', 'GET /edge/problem HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n', 404, 'route_not_found'],
  ])('refuses %s with a problem', async (_what, text, status, code) => {
    const edge = await startEdge()
    const [head = '', body = ''] = (await exchange(edge, text)).split('\r\n\r\n')
    expect(head).toMatch(new RegExp(`^HTTP/1.1 ${status} `))
    expect(head).toContain('\r\nContent-Type: application/problem+json\r\n')
    expect(JSON.parse(body)).toMatchObject({ status, code, type: `/docs#problem-${code}` })
    expect(edge.received).toEqual([])
  })

  it('ends with its master when that is killed, and starts again', async () => {
    const edge = await startEdge()
    const [master] = [edge.masterPid(), await edge.child.kill('SIGKILL')]
    await poll('nobody serves', () =>
      send(edge, '/edge/livez').then(
        () => false,
        () => true,
      ),
    )
    const next = edge.startAgain()
    await next.ready('the next nginx answers', async () => (await send(edge, '/v1/products')).status === 200)
    expect(edge.masterPid()).not.toBe(master)
  })

  it('ends after the requests in flight on SIGQUIT, and at once without any', async () => {
    const held: ServerResponse[] = []
    const edge = await startEdge({ answer: (response) => void held.push(response) })
    const agent = new Agent({ keepAlive: true })
    const inFlight = send(edge, '/', { agent })
    await poll('the request is held', () => held.length === 1)
    const ended = edge.child.kill('SIGQUIT')
    await poll('new requests are refused', () =>
      send(edge, '/edge/livez').then(
        () => false,
        () => true,
      ),
    )
    ok(held[0]!, edge.received[0]!)
    expect((await inFlight).status).toBe(200)
    expect(await ended).toEqual({ code: 0, signal: null })
    agent.destroy()
  })
})

// As the gateway says of what everyone may see (services/gateway/http/caching.ts).
const shared = 'public, max-age=1, stale-while-revalidate=1, stale-if-error=300'

/** Answers with a page that is cached: the number of the request and when it was made. */
const page =
  ({ delayMs = 0, headers = {}, text = '' } = {}): Answer =>
  (response, own) => {
    const [key, body] = [{ 'Content-Type': 'application/json', 'Cache-Control': shared, ...headers }, text]
    const made = Date.now()
    setTimeout(() => response.writeHead(200, key).end(body || JSON.stringify({ url: own.url, made })), delayMs)
  }
const cacheOf = ({ headers }: Response) => headers['cache-status']

describe.skipIf(nginx === undefined)('the cache of the edge', () => {
  it('asks once for a page that many want at once, and answers each with an id of its own', async () => {
    const headers = {
      'X-Request-Id': 'first',
      traceparent: '00-a-b-01',
      RateLimit: 'r=1',
      'RateLimit-Policy': 'q=1',
      ETag: '"1.1"',
    }
    const edge = await startEdge({ answer: page({ delayMs: 50, headers }) })
    // A page that was asked for just before a second ends is stale when it comes.
    await poll('a second has just begun', () => Date.now() % 1_000 < 200, { intervalMs: 20 })
    const answers = await Promise.all(
      Array.from({ length: 40 }, (_, i) =>
        send(edge, '/v1/products?limit=1', { headers: { 'x-request-id': `r-${i}` } }),
      ),
    )
    expect(edge.received).toHaveLength(1)
    expect(new Set(answers.map(({ text }) => text)).size).toBe(1)
    expect(answers.map(({ headers }) => headers['x-request-id'])).toEqual(answers.map((_, i) => `r-${i}`))
    const hits = answers.filter((answer) => cacheOf(answer) === 'edge; hit')
    expect(hits).toHaveLength(39)
    expect(hits[0]!.headers).toMatchObject({ 'cache-control': 'public, no-cache', etag: '"1.1"' })
    for (const name of ['traceparent', 'ratelimit', 'ratelimit-policy', 'x-accel-expires'])
      expect(hits[0]!.headers).not.toHaveProperty(name)
    const miss = answers.find((answer) => cacheOf(answer) === 'edge; fwd=uri-miss')!
    expect(miss.headers).toMatchObject({ traceparent: '00-a-b-01', ratelimit: 'r=1', 'ratelimit-policy': 'q=1' })
  })

  it('neither keeps nor answers from the cache what is not for everyone', async () => {
    const edge = await startEdge({ answer: page() })
    const one = '/v1/products/one'
    await send(edge, one)
    const others: [string, SendOptions][] = [
      [one, { headers: { authorization: 'Bearer a' } }],
      [one, { headers: { cookie: 'a=b' } }],
      [one, { headers: { 'content-length': '2' }, body: Buffer.from('{}') }],
      [one, { headers: { 'transfer-encoding': 'chunked' }, body: Buffer.from('{}') }],
      [one, { method: 'PUT', body: Buffer.from('{}') }],
      ['/v1/orders', {}],
      ['/docs', {}],
      ['/v1/products2', {}],
    ]
    for (const [path, options] of others)
      for (const _ of [1, 2]) expect(cacheOf(await send(edge, path, options))).toBe(undefined)
    expect(edge.received).toHaveLength(1 + 2 * others.length)
    expect(cacheOf(await send(edge, one))).toMatch(/^edge; hit/)
  })

  it('keeps only what the gateway says is for everyone', async () => {
    for (const headers of [
      { 'Cache-Control': 'no-cache' },
      { 'Cache-Control': 'private, no-store' },
      { 'Set-Cookie': 'a=b' },
    ]) {
      const edge = await startEdge({ answer: page({ headers }) })
      for (const _ of [1, 2]) expect(cacheOf(await send(edge, '/v1/products'))).toBe('edge; fwd=uri-miss')
      expect(edge.received).toHaveLength(2)
    }
  })

  it('never answers with a page that is older than 2 s, whenever it is asked', async () => {
    const edge = await startEdge({ answer: page() })
    const ages: number[] = []
    const until = Date.now() + 8_000
    // One page is always wanted, the others now and then, after every pause up to 3 s.
    for (let i = 0; Date.now() < until; i += 1) {
      const paths = ['/v1/products/hot', `/v1/products/${i % 30}`]
      for (const { text } of await Promise.all(paths.map((path) => send(edge, path))))
        ages.push(Date.now() - (JSON.parse(text) as { made: number }).made)
      await new Promise((resolve) => setTimeout(resolve, 37))
    }
    // nginx's clock is a few ms behind.
    expect(Math.max(...ages)).toBeLessThan(2_050)
    // It does cache.
    expect(ages.filter((age) => age > 500).length).toBeGreaterThan(10)
    const hot = edge.received.filter(({ url }) => url === '/v1/products/hot')
    expect(hot.length).toBeLessThan(12)
  })

  it('gets the next version in the background, one request at a time, while all get the one there is', async () => {
    const edge = await startEdge({ answer: page({ delayMs: 300 }) })
    await send(edge, '/v1/products')
    const stale = await poll('a stale answer', async () => {
      const started = performance.now()
      const answer = await send(edge, '/v1/products')
      return cacheOf(answer) === 'edge; hit; detail=stale' && performance.now() - started
    })
    expect(stale).toBeLessThan(100)
    const during = await Promise.all(Array.from({ length: 20 }, () => send(edge, '/v1/products')))
    expect(new Set(during.map(cacheOf))).toEqual(new Set(['edge; hit; detail=stale']))
    // They may all be answered before the request in the background has come.
    await poll('the next version', async () => cacheOf(await send(edge, '/v1/products')) === 'edge; hit')
    expect(edge.received).toHaveLength(2)
  })

  it('answers with what it has while the gateway is gone or fails, and 503 for what it has not', async () => {
    let status = 200
    const edge = await startEdge({
      answer: (response, own) => (status === 200 ? page()(response, own) : void response.writeHead(status).end('no')),
    })
    const { text } = await send(edge, '/v1/products')
    const old = async () => {
      await new Promise((resolve) => setTimeout(resolve, 3_000))
      return send(edge, '/v1/products')
    }
    status = 500
    expect(await old()).toMatchObject({ status: 200, text })
    await edge.stopServer()
    expect(await old()).toMatchObject({ status: 200, text })
    const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'
    const other = await send(edge, '/v1/products/other', { headers: { traceparent } })
    expect(problem(other)).toMatchObject({ status: 503, code: 'unavailable', instance: '/v1/products/other' })
    expect(problem(other)).toMatchObject({ traceId: traceparent.split('-')[1] })
    expect(other.headers).toMatchObject({ 'retry-after': '1', 'cache-control': 'no-store' })
    status = 200
    await edge.startServer()
    expect((await old()).text).not.toBe(text)
  })

  it('says within 2 s that a page is no longer there', async () => {
    let status = 200
    const edge = await startEdge({
      answer: (response, own) =>
        status === 200
          ? page()(response, own)
          : void response.writeHead(status, { 'Cache-Control': 'no-store' }).end('gone'),
    })
    await send(edge, '/v1/products/one')
    status = 404
    const deleted = Date.now()
    await poll('404', async () => (await send(edge, '/v1/products/one')).status === 404)
    expect(Date.now() - deleted).toBeLessThan(2_200)
    for (let i = 0; i < 5; i += 1) expect((await send(edge, '/v1/products/one')).status).toBe(404)
  })

  it('compresses a page once, and keeps it for both kinds of clients', async () => {
    const text = JSON.stringify({ text: 'long '.repeat(1_000) })
    const edge = await startEdge({ answer: page({ text, headers: { ETag: '"1.1"' } }) })
    for (const encoding of ['gzip, deflate, br', 'br;q=1.0, gzip;q=0.8', 'GZIP']) {
      const packed = await send(edge, '/v1/products', { headers: { 'accept-encoding': encoding } })
      expect(packed.headers).toMatchObject({ 'content-encoding': 'gzip', vary: 'Accept-Encoding', etag: 'W/"1.1"' })
      expect(packed.text.length).toBeLessThan(text.length / 4)
    }
    for (const encoding of ['', 'identity', 'gzip;q=0', 'br']) {
      const plain = await send(edge, '/v1/products', { headers: { 'accept-encoding': encoding } })
      expect(plain).toMatchObject({ text, headers: { vary: 'Accept-Encoding', etag: '"1.1"' } })
    }
    expect(edge.received.length).toBeLessThanOrEqual(4)
  })

  it('answers 304 from the cache to whoever has the page, and asks so itself', async () => {
    const edge = await startEdge({
      answer: (response, own) => {
        if (own.headers['if-none-match'] === '"1.1"')
          return void response.writeHead(304, { 'Cache-Control': shared, ETag: '"1.1"' }).end()
        page({ headers: { ETag: '"1.1"' } })(response, own)
      },
    })
    const { text } = await send(edge, '/v1/products')
    const conditional = (tag: string) => send(edge, '/v1/products', { headers: { 'if-none-match': tag } })
    expect(await conditional('"1.1"')).toMatchObject({ status: 304, text: '', headers: { etag: '"1.1"' } })
    expect((await conditional('W/"1.1"')).status).toBe(304)
    expect((await conditional('"1.2"')).status).toBe(200)
    await poll('the page is asked for again', async () => {
      expect((await send(edge, '/v1/products')).text).toBe(text)
      return edge.received.length > 1
    })
    expect(edge.received[1]!.headers).toMatchObject({ 'if-none-match': '"1.1"' })
    // A client's own condition is never passed on: its answer would be kept for all.
    expect(edge.received[0]!.headers).not.toHaveProperty('if-none-match')
  })

  it('keeps the headers of one origin from another', async () => {
    const edge = await startEdge({
      answer: (response, own) =>
        page({ headers: { 'Access-Control-Allow-Origin': own.headers.origin ?? '', Vary: 'Origin' } })(response, own),
    })
    for (const origin of ['https://a.example', 'https://b.example', 'https://a.example']) {
      const { headers } = await send(edge, '/v1/products', { headers: { origin } })
      expect(headers).toMatchObject({ 'access-control-allow-origin': origin, vary: 'Accept-Encoding, Origin' })
    }
    expect(edge.received).toHaveLength(2)
  })

  it('counts what clients send, not what fills the cache, and never more than the gateway can take', async () => {
    const limits = { requestsPerSecond: 1, burst: 3, connections: 10 }
    const edge = await startEdge({ limits, answer: page() })
    const statuses: number[] = []
    for (let i = 0; i < 6; i += 1) statuses.push((await send(edge, `/v1/products/${i}`)).status)
    expect(statuses.slice(0, 4)).toEqual([200, 200, 200, 200])
    expect(statuses).toContain(429)
  })
})

/** Sends bytes and returns what comes back until the connection is closed. */
function exchange({ port }: Edge, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(text))
    let answer = ''
    socket.on('data', (chunk) => (answer += String(chunk)))
    socket.on('close', () => resolve(answer))
    socket.on('error', reject)
  })
}
