// The shop as shoppers reach it in a cluster: through the pods of the edge.
import { randomUUID } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { runKubectl } from '../../platform/cluster/kubectl.ts'
import { poll } from '../../platform/poll.ts'
import { runReadmeOrder } from '../readme-order.ts'
import { api, place, product, shopper, terminal, uncached, untilAvailable, type Json } from '../shop-client.ts'

const kubectl = (...args: string[]) => runKubectl(['--namespace', 'shop', ...args])

/** Returns the line about a request in the log of a Deployment's pods. */
const logLine = (name: string, requestId: string) =>
  poll(`${requestId} is in the log of ${name}`, async () => {
    const log = await kubectl('logs', '-l', `app.kubernetes.io/name=${name}`, '-c', name, '--since=2m', '--tail=-1')
    const line = log.split('\n').find((text) => text.includes(requestId))
    return line === undefined ? undefined : (JSON.parse(line) as Json)
  })

describe('an order through the edge', () => {
  it("is README's first one: CONFIRMED, and one trace through every service", async () => {
    await product(100)
    const { statuses, trace } = await runReadmeOrder()
    expect(statuses.at(-1)).toBe('CONFIRMED')
    for (const service of ['gateway', 'orders', 'inventory', 'payments']) expect(trace).toContain(service)
    for (const sidecar of ['orders-dapr', 'orders-outbox-mysql']) expect(trace).toContain(sidecar)
  })

  it('with a declined card is CANCELLED, and its stock released', async () => {
    const sku = await product(3)
    const who = await shopper()
    const { body } = await place(who, sku, { quantity: 2, method: 'pm_card_chargeDeclined' })
    expect(await terminal(who, body.id, 30_000)).toMatchObject({ status: 'CANCELLED' })
    await untilAvailable(sku, 3)
  })
})

describe('the edge', () => {
  it("a request's id is in the response and in the logs of edge and gateway, with its trace", async () => {
    const [requestId, traceId] = [randomUUID(), randomUUID().replaceAll('-', '')]
    const headers = { 'x-request-id': requestId, traceparent: `00-${traceId}-00f067aa0ba902b7-01` }
    // Refused: the gateway has no line about a request that succeeds.
    const path = `/v1/products/unknown-${requestId}`
    const answer = await api(path, { headers })
    expect(answer.status).toBe(404)
    expect(answer.headers.get('server')).toBe('nginx')
    expect(answer.headers.get('x-request-id')).toBe(requestId)
    expect(await logLine('edge', requestId)).toMatchObject({ traceId, path, upstreamStatus: '404' })
    expect(await logLine('gateway', requestId)).toMatchObject({
      traceId,
      route: '/v1/products/{productId}',
      status: 404,
    })
  })

  it('takes bodies that do not fit its memory, up to 256 KiB, on a read-only root', async () => {
    // Refused by the gateway, which must have got all of it: nginx's own 413 has no traceId.
    const taken = await api('/v1/users', { body: { name: 'x'.repeat(200 * 1024) } })
    expect(taken).toMatchObject({ status: 400, body: { code: 'invalid_field', traceId: expect.any(String) } })
    const refused = await api('/v1/users', { body: { name: 'x'.repeat(256 * 1024) } })
    expect(refused).toMatchObject({ status: 413, body: { code: 'body_too_large', requestId: expect.any(String) } })
    await expect(kubectl('exec', 'deployment/edge', '-c', 'edge', '--', 'touch', '/etc/edge/x')).rejects.toThrow(
      /Read-only file system/,
    )
  })

  it('answers 503 at once while no gateway is ready, and by itself goes on when one is', async () => {
    const { items } = JSON.parse(
      await kubectl('get', 'deployment', '-l', 'app.kubernetes.io/name=gateway', '-o', 'json'),
    )
    const { replicas } = items[0].spec as { replicas: number }
    try {
      await kubectl('scale', 'deployment/gateway', '--replicas=0')
      // One that ends in peace answers on kept connections for 26 s more.
      await kubectl('delete', 'pods', '-l', 'app.kubernetes.io/name=gateway', '--grace-period=1', '--wait=false')
      const down = await poll('a 503', async () => {
        const started = performance.now()
        const answer = await api('/v1/products?limit=1', { headers: uncached })
        return answer.status === 503 && { ...answer, ms: performance.now() - started }
      })
      expect(down.body).toMatchObject({ code: 'unavailable', instance: '/v1/products' })
      expect(down.headers.get('retry-after')).toBe('1')
      expect(down.ms).toBeLessThan(2_000)
    } finally {
      await kubectl('scale', 'deployment/gateway', `--replicas=${replicas}`)
    }
    const isBack = async () => (await api('/v1/products?limit=1', { headers: uncached })).status === 200
    await poll('the API works again', isBack, { timeoutMs: 120_000 })
  })
})
