import { randomUUID } from 'node:crypto'
import { afterEach, beforeAll, describe, expect, inject, test } from 'vitest'
import { poll } from '../platform/poll.ts'
import { attachShop, type Shop } from '../platform/start/shop.ts'
import { api, login, uncached, type Answer, type Json } from './shop-client.ts'

// Search in the whole shop: from a seller's change to what a shopper finds, and without OpenSearch.

let shop: Shop
let token: string
let isStopped = false
let isFrozen = false
beforeAll(async () => {
  shop = await attachShop(inject('shopInstance'))
  token = await login(inject('adminEmail'), inject('adminPassword'))
})
afterEach(async () => {
  if (isStopped) await shop.process('opensearch').start()
  if (isFrozen) await shop.process('opensearch').kill('SIGCONT')
  isStopped = false
  isFrozen = false
})

const get = (path: string) => api(path, { headers: uncached })

async function create(o: Json = {}): Promise<Json> {
  const handle = `find-${randomUUID()}`
  const price = { amount: 1_500, currency: 'USD' }
  const body = { handle, title: 'A thing to find', variants: [{ sku: handle, options: { Size: 'L' }, price }], ...o }
  const { status, body: made } = await api('/v1/products', { token, body })
  if (status !== 201) throw new Error(`${status} ${JSON.stringify(made)}`)
  return made
}

/** How long it takes until a list is as it should be, in milliseconds. */
async function timeUntil(path: string, isRight: (items: Json[]) => boolean): Promise<number> {
  const began = performance.now()
  const attempt = async () => {
    const { status, body } = await get(path)
    return status === 200 && isRight(body.items)
  }
  await poll(`${path} is right`, attempt, { timeoutMs: 30_000, intervalMs: 50 })
  return performance.now() - began
}

test('what a seller writes is found within 2 s: creation, price, stock, archiving', async () => {
  const vendor = `Vendor ${randomUUID()}`
  const product = await create({ vendor, attributes: { color: 'teal' } })
  const path = `/v1/products?vendor=${encodeURIComponent(vendor)}`
  const item = `/v1/products/${product.handle}`
  const times = [await timeUntil(`${path}&attr.color=teal&attr.Size=L`, ({ length }) => length === 1)]

  // The list shows the same as the product's own page.
  const [listed] = (await get(path)).body.items
  expect(listed).toEqual((await get(item)).body)
  expect(JSON.stringify(listed)).toBe(JSON.stringify((await get(item)).body))

  const price = { amount: 99, currency: 'USD' }
  await api(item, { token, method: 'PATCH', body: { variants: [{ sku: product.handle, price }] } })
  times.push(await timeUntil(`${path}&price=..99`, ({ length }) => length === 1))

  const stock = { source: 'main', quantity: 5 }
  await api(`/v1/stock/${product.handle}`, { token, method: 'PUT', body: stock })
  times.push(await timeUntil(`${path}&available=true`, ([first]) => first?.available === 5))

  await api(item, { token, method: 'PATCH', body: { published: false } })
  times.push(await timeUntil(path, ({ length }) => length === 0))
  for (const ms of times) expect(ms).toBeLessThan(2_000)
})

test('words, typing errors, completion and facets', async () => {
  const word = `Zyx${randomUUID().slice(0, 6).replaceAll(/\d/g, 'k')}`
  await create({ title: `${word} 커피잔` })
  await timeUntil(`/v1/products?q=${word}`, ({ length }) => length === 1)
  for (const q of [word.toLowerCase(), `${word} 커피`, `${word}s`, `${word.slice(0, -1)}`])
    expect((await get(`/v1/products?q=${encodeURIComponent(q)}`)).body.items).toHaveLength(1)
  const { body } = await get(`/v1/products:suggest?q=${word.slice(0, 6)}`)
  expect(body.items).toEqual([expect.objectContaining({ title: `${word} 커피잔` })])
  const counted = await get(`/v1/products?q=${word}&facets=attr.Size,price`)
  expect(counted.body.facets).toEqual([
    { name: 'attr.Size', values: [{ value: 'L', count: 1 }], incomplete: false },
    { name: 'price', values: [{ value: '1000..1999', count: 1 }], incomplete: false },
  ])
})

test('a category that does not exist is named', async () => {
  const answer = await get('/v1/products?category=c-none')
  expect(answer).toMatchObject({ status: 404, body: { code: 'category_not_found', errors: [{ field: 'category' }] } })
})

describe('without OpenSearch', () => {
  test('that is frozen, lists go on and words are refused, both in time', async () => {
    isFrozen = true
    await shop.process('opensearch').kill('SIGSTOP')
    const seen: { path: string; status: number; degraded: boolean; ms: number }[] = []
    const ask = async (path: string) => {
      const began = performance.now()
      const { status, body } = await get(path)
      seen.push({ path, status, degraded: body.degraded === true, ms: performance.now() - began })
    }
    const ends = performance.now() + 8_000
    const readers = ['/v1/products?limit=1', '/v1/products?limit=2', '/v1/products?q=thing'].map(async (path) => {
      while (performance.now() < ends) await ask(path)
    })
    await Promise.all(readers)
    const isWords = ({ path }: { path: string }) => path.includes('q=')
    expect(seen.filter((one) => !isWords(one) && (one.status !== 200 || !one.degraded))).toEqual([])
    expect(seen.filter((one) => isWords(one) && one.status !== 503)).toEqual([])
    expect(seen.filter(({ ms }) => ms > 3_000)).toEqual([])
    // The breaker is open most of the time, so hardly any has waited.
    expect(seen.filter(({ ms }) => ms < 1_000).length).toBeGreaterThan(seen.length / 2)

    await shop.process('opensearch').kill('SIGCONT')
    isFrozen = false
    await poll('search is back', async () => (await get('/v1/products?q=thing')).status === 200)
  })

  test('lists go on under load, without a single 5xx; what needs search says when to ask again', async () => {
    const product = await create()
    await timeUntil('/v1/products?limit=1', ([first]) => first?.id === product.id)
    const answers: Answer[] = []
    let stop = false
    const reader = async () => {
      for (let cursor = ''; !stop;) {
        const answer = await get(`/v1/products?limit=2${cursor === '' ? '' : `&cursor=${cursor}`}`)
        answers.push(answer)
        cursor = answer.body.next ?? ''
      }
    }
    const readers = Promise.all(Array.from({ length: 4 }, reader))
    const degraded = () => answers.filter(({ body }) => body.degraded).length
    await poll('lists answer', () => answers.length > 20)
    expect(degraded()).toBe(0)
    isStopped = true
    await shop.process('opensearch').kill('SIGKILL')
    // Or else the supervisor would start it again at once.
    await shop.process('opensearch').stop()
    await poll('lists come from the catalogue', () => degraded() > 100)
    const words = await get('/v1/products?q=thing')
    expect(words).toMatchObject({ status: 503, body: { code: 'search_unavailable' } })
    expect(Number(words.headers.get('retry-after'))).toBeGreaterThan(0)

    const late = await create({ title: 'Made meanwhile' })
    await timeUntil('/v1/products?limit=1', ([first]) => first?.id === late.id)
    await shop.process('opensearch').start()
    isStopped = false
    const isBack = async () => {
      const { status, body } = await get('/v1/products?q=meanwhile')
      return status === 200 && body.items.some(({ id }: Json) => id === late.id)
    }
    await poll('search is back, with what was made meanwhile', isBack, { timeoutMs: 60_000 })
    stop = true
    await readers
    expect(answers.filter(({ status }) => status !== 200).map(({ status, body }) => [status, body.code])).toEqual([])
  }, 180_000)
})
