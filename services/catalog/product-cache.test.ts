import { describe, expect, test, vi } from 'vitest'
import { createProductCache, type CachedProduct } from './product-cache.ts'

type Read = () => Promise<CachedProduct | undefined>
const product = (etag: string, size = 1_000): CachedProduct => ({
  json: Buffer.alloc(size),
  etag,
  published: true,
  sellerId: '',
})

function cacheOf(options: { maxBytes?: number } = {}) {
  let time = 0
  const cache = createProductCache({ maxBytes: 1_000_000, maxAgeMs: 500, now: () => time, ...options })
  return { cache, pass: (ms: number) => (time += ms) }
}

describe('a product', () => {
  test('is read once while it is fresh, and again after that', async () => {
    const { cache, pass } = cacheOf()
    const read = vi.fn<Read>(async () => product('1'))
    await cache.get('a', read)
    pass(499)
    await cache.get('a', read)
    expect(read).toHaveBeenCalledTimes(1)
    pass(1)
    await cache.get('a', read)
    expect(read).toHaveBeenCalledTimes(2)
  })

  test("that many ask for at once is read once, and a failure is nobody else's", async () => {
    const { cache } = cacheOf()
    const fails = vi.fn<Read>(() => Promise.reject<undefined>(new Error('away')))
    const results = await Promise.allSettled([cache.get('a', fails), cache.get('a', fails)])
    expect(results.map(({ status }) => status)).toEqual(['rejected', 'rejected'])
    expect(fails).toHaveBeenCalledTimes(1)
    expect(await cache.get('a', async () => product('1'))).toMatchObject({ etag: '1' })
  })

  test('that does not exist is not remembered', async () => {
    const { cache } = cacheOf()
    expect(await cache.get('a', async () => undefined)).toBeUndefined()
    expect(await cache.get('a', async () => product('1'))).toMatchObject({ etag: '1' })
  })

  test('that has changed is read again, also if it changes while it is read', async () => {
    const { cache } = cacheOf()
    await cache.get('a', async () => product('1'))
    cache.drop('a')
    const { promise: old, resolve } = Promise.withResolvers<CachedProduct>()
    const first = cache.get('a', () => old)
    cache.drop('a')
    const second = cache.get('a', async () => product('3'))
    resolve(product('2'))
    expect([(await first)?.etag, (await second)?.etag]).toEqual(['2', '3'])
    expect(await cache.get('a', async () => product('4'))).toMatchObject({ etag: '3' })
  })
})

test('whatever is read, no more is kept than allowed, and what was used last stays', async () => {
  const { cache } = cacheOf({ maxBytes: 10_000 })
  const read = (id: string) => cache.get(id, async () => product(id))
  await read('hot')
  for (let i = 0; i < 100; i += 1) {
    await read(`p-${i}`)
    await read('hot')
    expect(cache.bytes).toBeLessThanOrEqual(10_000)
  }
  const again = vi.fn<Read>(async () => product('new'))
  await cache.get('hot', again)
  expect(again).not.toHaveBeenCalled()
  await cache.get('huge', async () => product('huge', 20_000))
  expect(cache.bytes).toBeLessThanOrEqual(10_000)
})
