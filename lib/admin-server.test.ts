import { Registry } from 'prom-client'
import { expect, test } from 'vitest'
import { serveAdmin, type Readiness } from './admin-server.ts'

async function get(path: string, ready?: () => Promise<Readiness> | Readiness) {
  const close = await serveAdmin(0, ready, { registry: new Registry() })
  try {
    const response = await fetch(`http://127.0.0.1:${close.port}${path}`)
    return [response.status, await response.text()] as const
  } finally {
    close()
  }
}

test.each<[string, (() => Promise<Readiness> | Readiness) | undefined, number, string]>([
  ['by default', undefined, 200, 'ok\n'],
  ['true', () => true, 200, 'ok\n'],
  ['a reason', () => 'no sidecar', 503, 'no sidecar\n'],
  ['an error', () => Promise.reject(new Error('no store')), 503, 'no store\n'],
  ['a ready object', () => ({ ready: true, components: [] }), 200, '{"ready":true,"components":[]}'],
  ['an object that is not ready', () => ({ ready: false }), 503, '{"ready":false}'],
])('/readyz: %s', async (_, ready, status, body) => {
  expect(await get('/readyz', ready)).toEqual([status, body])
})

test('/livez does not depend on readiness', async () => {
  expect(await get('/livez', () => 'no sidecar')).toEqual([200, 'ok\n'])
})

test('/metrics has the default metrics of the given registry', async () => {
  const [status, text] = await get('/metrics')
  expect([status, text.includes('process_cpu_seconds_total')]).toEqual([200, true])
})

test('other paths are not found', async () => {
  expect((await get('/other'))[0]).toBe(404)
})
