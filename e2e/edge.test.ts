import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, inject, it } from 'vitest'
import { poll } from '../platform/poll.ts'
import { attachShop } from '../platform/start/shop.ts'
import { api, login, product, uncached, type Json } from './shop-client.ts'

// nginx in front of the gateway; its configuration alone is tested in
// platform/processes/edge.int.test.ts. A machine without nginx has no edge, and these are skipped.
const shop = await attachShop(inject('shopInstance'))
const hasEdge = shop.ports.api !== shop.ports.services.gateway.app

describe.skipIf(!hasEdge)('the edge', () => {
  it("a request's id is in the response and in the logs of edge and gateway, its trace in Jaeger", async () => {
    const [requestId, traceId] = [randomUUID(), randomUUID().replaceAll('-', '')]
    const headers = {
      'x-request-id': requestId,
      traceparent: `00-${traceId}-00f067aa0ba902b7-01`,
      'x-forwarded-for': '203.0.113.9',
    }
    // The gateway logs what it refuses.
    const answer = await api('/v1/products?limit=0', { headers })
    expect(answer.status).toBe(400)
    expect(answer.headers.get('x-request-id')).toBe(requestId)
    expect(answer.headers.get('traceparent')).toContain(traceId)

    const line = { service: 'edge', traceId, path: '/v1/products', status: 400, client: '127.0.0.1' }
    expect(await logLine('edge', requestId)).toMatchObject(line)
    expect(await logLine('gateway', requestId)).toMatchObject({ traceId, route: '/v1/products', status: 400 })

    const address = await poll('the span of the gateway', () => clientAddress(traceId), { timeoutMs: 30_000 })
    // Not the one that the client invented.
    expect(address).toBe('127.0.0.1')
  })

  it('a body over 256 KiB is refused with 413', async () => {
    const { status, headers, body } = await api('/v1/users', { body: { name: 'x'.repeat(256 * 1024) } })
    expect(status).toBe(413)
    expect(headers.get('content-type')).toBe('application/problem+json')
    expect(body).toMatchObject({ code: 'body_too_large', instance: '/v1/users', errors: [{ field: 'body' }] })
    expect(body.requestId).toBe(headers.get('x-request-id'))
  })

  it('while the gateway is gone it shows cached pages, answers 503 at once for others, and recovers', async () => {
    const cached = await api('/v1/products?limit=2')
    expect(cached.status).toBe(200)
    await shop.process('gateway').kill('SIGKILL')
    const down = await poll('a 503', async () => {
      const started = performance.now()
      const answer = await api('/v1/products?limit=1', { headers: uncached })
      return answer.status === 503 && { ...answer, ms: performance.now() - started }
    })
    expect(down.body).toMatchObject({
      code: 'unavailable',
      instance: '/v1/products',
      type: '/docs#problem-unavailable',
    })
    expect(down.headers.get('retry-after')).toBe('1')
    expect(down.ms).toBeLessThan(3_000)
    expect(await api('/v1/products?limit=2')).toMatchObject({ status: 200, body: cached.body })
    await poll('the API works again', async () => (await api('/v1/products', { headers: uncached })).status === 200, {
      timeoutMs: 30_000,
    })
  })

  it('is back within seconds when its master is killed', async () => {
    const edge = shop.process('edge')
    const pid = await edge.pid()
    await edge.kill('SIGKILL')
    await edge.ready({ not: pid, timeoutMs: 20_000 })
    expect((await api('/v1/products?limit=2')).status).toBe(200)
  })

  it('a change is seen everywhere within 2 s, however the page is asked for', async () => {
    const token = await login(inject('adminEmail'), inject('adminPassword'))
    const sku = await product(5)
    const path = `/v1/products/${sku.toLowerCase()}`
    const read = async (headers: Record<string, string> = {}) =>
      (await api(path, { headers })).body['variants'][0].price.amount as number
    const ways: Record<string, string>[] = [
      {},
      { 'accept-encoding': 'gzip' },
      { 'accept-encoding': 'identity' },
      { origin: 'https://a.example' },
    ]
    for (const amount of [1_111, 2_222, 3_333]) {
      // In the cache, and at different parts of a second.
      for (const headers of ways) await read(headers)
      const body = { variants: [{ sku, price: { amount, currency: 'USD' } }] }
      expect((await api(path, { method: 'PATCH', token, body })).status).toBe(200)
      const changed = Date.now()
      expect((await api(path, { token })).body['variants'][0].price.amount).toBe(amount)
      // Once after 2 s, since asking before makes the edge ask too.
      await new Promise((resolve) => setTimeout(resolve, changed + 2_000 - Date.now()))
      expect(await Promise.all(ways.map((headers) => read(headers)))).toEqual(ways.map(() => amount))
    }
  })

  it('pages for everyone come from the cache with their ETag, those with a token never', async () => {
    const sku = await product(5)
    const path = `/v1/products/${sku.toLowerCase()}`
    const hit = await poll('a hit', async () => {
      const answer = await api(path)
      return answer.headers.get('cache-status') === 'edge; hit' && answer
    })
    expect(hit.headers.get('cache-control')).toBe('public, no-cache')
    const etag = hit.headers.get('etag')!
    expect((await api(path, { headers: { 'if-none-match': etag } })).status).toBe(304)
    const token = await login(inject('adminEmail'), inject('adminPassword'))
    for (const _ of [1, 2]) {
      const own = await api(path, { token })
      expect(own.headers.get('cache-status')).toBe(null)
      expect(own.headers.get('cache-control')).toBe('private, no-store')
    }
  })
})

/** Returns a process's log line about a request. */
function logLine(name: string, requestId: string): Promise<Json> {
  const file = join(shop.paths.logs, `${name}.log`)
  return poll(`${requestId} is in ${file}`, () => {
    const text = readFileSync(file, 'utf8')
      .split('\n')
      .find((line) => line.includes(requestId))
    return text === undefined ? undefined : (JSON.parse(text) as Json)
  })
}

/** Returns the address that the gateway noted in its span of a trace. */
async function clientAddress(traceId: string): Promise<string | undefined> {
  const response = await fetch(`${inject('shopJaeger')}/api/traces/${traceId}`)
  if (!response.ok) return undefined
  const [trace] = ((await response.json()) as Json).data
  const tags: Json[] = trace.spans.flatMap((span: Json) => span.tags)
  return tags.find(({ key }) => key === 'client.address')?.value
}
