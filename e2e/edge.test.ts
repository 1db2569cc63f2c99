import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, inject, it } from 'vitest'
import { poll } from '../platform/poll.ts'
import { attachShop } from '../platform/start/shop.ts'
import { api, type Json } from './shop-client.ts'

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
    const answer = await api('/v1/products?limit=1', { headers })
    expect(answer.status).toBe(200)
    expect(answer.headers.get('x-request-id')).toBe(requestId)
    expect(answer.headers.get('traceparent')).toContain(traceId)

    const line = { service: 'edge', traceId, path: '/v1/products', status: 200, client: '127.0.0.1' }
    expect(await logLine('edge', requestId)).toMatchObject(line)
    expect(await logLine('gateway', requestId)).toMatchObject({ traceId, route: '/v1/products', status: 200 })

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

  it('while the gateway is gone the API answers 503 at once, and by itself works again when it is back', async () => {
    await api('/v1/products')
    await shop.process('gateway').kill('SIGKILL')
    const down = await poll('a 503', async () => {
      const started = performance.now()
      const answer = await api('/v1/products?limit=1')
      return answer.status === 503 && { ...answer, ms: performance.now() - started }
    })
    expect(down.body).toMatchObject({
      code: 'unavailable',
      instance: '/v1/products',
      type: '/docs#problem-unavailable',
    })
    expect(down.headers.get('retry-after')).toBe('1')
    expect(down.ms).toBeLessThan(3_000)
    await poll('the API works again', async () => (await api('/v1/products?limit=1')).status === 200, {
      timeoutMs: 30_000,
    })
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
