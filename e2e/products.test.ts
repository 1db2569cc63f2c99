import { randomUUID } from 'node:crypto'
import { beforeAll, expect, inject, it } from 'vitest'
import { poll } from '../platform/poll.ts'
import { api, login, place, product, shopper, terminal, type Json } from './shop-client.ts'

let token = ''
beforeAll(async () => {
  token = await login(inject('adminEmail'), inject('adminPassword'))
})

const newProduct = (o: Json = {}): Json => {
  const handle = `pot-${randomUUID()}`
  return {
    handle,
    title: 'Pot',
    vendor: 'Acme',
    variants: ['S', 'L'].map((size) => ({
      sku: `${handle}-${size}`,
      options: { Size: size },
      price: { amount: 999, currency: 'USD' },
    })),
    ...o,
  }
}
const create = (body = newProduct()) => api('/v1/products', { token, body })
const patch = (handle: string, body: Json, headers: Record<string, string> = {}) =>
  api(`/v1/products/${handle}`, { method: 'PATCH', token, body, headers })
const price = (sku: string, amount: number) => ({ variants: [{ sku, price: { amount, currency: 'USD' } }] })

it('what sellers change at the same time is all kept', async () => {
  const { body: made } = await create()
  for (let round = 1; round <= 20; round += 1) {
    const changes = await Promise.all([
      patch(made['handle'], { title: `Title ${round}` }),
      patch(made['handle'], price(made['variants'][0].sku, round)),
      patch(made['handle'], { vendor: `Vendor ${round}`, attributes: { round } }),
      patch(made['handle'], price(made['variants'][1].sku, 1_000 + round)),
    ])
    expect(changes.map(({ status }) => status)).toEqual([200, 200, 200, 200])
    const { body } = await api(`/v1/products/${made['handle']}`, { token })
    expect(body).toMatchObject({
      title: `Title ${round}`,
      vendor: `Vendor ${round}`,
      attributes: { round },
      variants: [{ price: { amount: round } }, { price: { amount: 1_000 + round } }],
    })
  }
}, 60_000)

it('a POST creates and never replaces', async () => {
  const sent = newProduct()
  const first = await create(sent)
  expect(first).toMatchObject({ status: 201, body: { title: 'Pot', available: 0 } })
  expect(await create({ ...sent, title: 'Other' })).toMatchObject({
    status: 409,
    body: { code: 'handle_taken', errors: [{ field: 'handle' }] },
  })
  expect((await api(`/v1/products/${sent['handle']}`, { token })).body['title']).toBe('Pot')
})

it('a change for a product that somebody has written since is a 412; a repeated read is a 304', async () => {
  const { body: made, headers } = await create()
  const etag = headers.get('etag')!
  expect(etag).toMatch(/^"\d+\.\d+"$/)
  const path = `/v1/products/${made['handle']}`
  expect(await api(path, { token, headers: { 'if-none-match': etag } })).toMatchObject({ status: 304, body: {} })
  const changed = await patch(made['handle'], { title: 'A' }, { 'if-match': etag })
  expect(changed).toMatchObject({ status: 200, body: { title: 'A' } })
  const late = { 'if-match': etag }
  const { handle: _, ...whole } = newProduct()
  for (const refused of [
    await patch(made['handle'], { title: 'B' }, late),
    await api(path, { method: 'PUT', token, headers: late, body: whole }),
    await api(path, { method: 'DELETE', token, headers: late }),
  ])
    expect(refused).toMatchObject({ status: 412, body: { code: 'product_changed', errors: [{ field: 'If-Match' }] } })
  const fresh = await api(path, { token, headers: { 'if-none-match': etag } })
  expect(fresh).toMatchObject({ status: 200, body: { title: 'A' } })
  expect(fresh.headers.get('etag')).toBe(changed.headers.get('etag'))
  const gone = await api(path, { method: 'DELETE', token, headers: { 'if-match': fresh.headers.get('etag')! } })
  expect(gone.status).toBe(204)
  expect((await api(path, { token })).status).toBe(404)
})

it('an order is priced by the store from the moment that a price is changed', async () => {
  const sku = await product(100)
  const handle = sku.toLowerCase()
  const who = await shopper()
  for (const amount of [1_111, 2_222, 3_333]) {
    // So that whatever is cached anywhere is cached.
    await Promise.all(Array.from({ length: 5 }, () => api(`/v1/products/${handle}`)))
    await patch(handle, price(sku, amount))
    const { body } = await place(who, sku)
    expect(body['total'].amount).toBe(amount)
    await poll(
      'the new price',
      async () => {
        const { body } = await api(`/v1/products/${handle}`)
        return body['variants'][0].price.amount === amount
      },
      { timeoutMs: 2_000 },
    )
    await terminal(who, body['id'])
  }
}, 60_000)

it('many products are written with their stock, and again without a change', async () => {
  const made = Array.from({ length: 300 }, () => newProduct())
  const lines = made.map((each): Json => ({
    ...each,
    variants: each['variants'].map((v: Json) => ({ ...v, stock: 7 })),
  }))
  const wrong = { ...lines[0], handle: lines[1]!['handle'] }
  const send = async () => {
    const response = await fetch(`${inject('shopApi')}/v1/products:bulk`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/x-ndjson' },
      body: [...lines, wrong].map((line) => JSON.stringify(line)).join('\n'),
    })
    expect(response.status).toBe(200)
    return (await response.text())
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Json)
  }
  for (const outcome of ['created', 'unchanged']) {
    const answers = await send()
    expect(answers.slice(0, 300)).toEqual(
      made.map(({ handle }, i) => ({ line: i + 1, handle, id: expect.stringMatching(/^p-/), outcome, problem: null })),
    )
    expect(answers[300]).toMatchObject({ line: 301, outcome: 'refused', problem: { errors: [{ field: 'handle' }] } })
  }
  const skus = made.slice(0, 50).flatMap(({ variants }) => variants.map((v: Json) => v['sku'] as string))
  const query = skus.map((sku) => `sku=${encodeURIComponent(sku)}`).join('&')
  const items = await poll(
    'the stock is seen',
    async () => {
      const { body } = await api(`/v1/products:batch?${query}`)
      return body['items'].every((item: Json) => item['available'] === 14) && (body['items'] as Json[])
    },
    { timeoutMs: 20_000 },
  )
  expect(items.map((item: Json) => item['handle']).toSorted()).toEqual(
    made
      .slice(0, 50)
      .map(({ handle }) => handle)
      .toSorted(),
  )
}, 60_000)
