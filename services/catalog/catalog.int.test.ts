import { MongoClient } from 'mongodb'
import { ulid } from 'ulid'
import { afterAll, describe, expect, test, vi } from 'vitest'
import { AppCallbackService, TopicEventRequest } from '#protos/dapr/proto/runtime/v1/appcallback.ts'
import { CatalogServiceService, type Product, type Variant } from '#protos/shop/catalog/v1/catalog.ts'
import { watchTopic } from '../../platform/testing/events.ts'
import { startService } from '../../platform/testing/service.ts'
import { pageQuery } from './product-store.ts'

const [service, published] = await Promise.all([startService('catalog'), watchTopic('products')])
afterAll(() => Promise.all([service.close(), published.close()]))
const catalog = service.client(CatalogServiceService)
const callback = service.client(AppCallbackService)

const code = (code: string) => expect.objectContaining({ code })
const newHandle = () => `pot-${ulid().toLowerCase()}`
const variant = (sku: string, o: Partial<Variant> = {}): Variant => ({
  sku,
  options: { SKU: sku },
  price: { amount: 999, currency: 'USD' },
  available: 0,
  ...o,
})
function product(o: Partial<Product> = {}): Product {
  const handle = newHandle()
  return {
    id: '',
    handle,
    title: 'Clay pot',
    description: '<p>For plants</p>',
    vendor: 'Company 123',
    categoryId: '',
    images: ['https://example.com/pot.jpg'],
    attributes: { material: 'clay' },
    variants: [variant(`${handle}-1`), variant(`${handle}-2`)],
    published: true,
    updatedAt: '',
    ...o,
  }
}
async function upsert(o: Partial<Product> = {}) {
  return (await catalog.upsertProduct({ product: product(o) })).product!
}
async function category(...names: string[]) {
  return (await catalog.ensureCategory({ names })).category!
}
async function everyPage(categoryId: string, limit: number): Promise<Product[]> {
  const products = []
  for (let cursor = ''; ;) {
    const page = await catalog.listProducts({ categoryId, limit, cursor })
    products.push(...page.products)
    cursor = page.nextCursor
    if (cursor === '') return products
  }
}
/** Delivers an event of topic stock as the sidecar does. */
async function stockEvent(type: string, levels: { sku: string; available: number; version: number }[]) {
  const data = Buffer.from(JSON.stringify({ levels }))
  const { status } = await callback.onTopicEvent(
    TopicEventRequest.fromPartial({
      id: ulid(),
      type,
      topic: 'stock',
      pubsubName: 'kafka',
      data,
      dataContentType: 'application/json',
    }),
  )
  return status
}
const [success, retry, drop] = [0, 1, 2]

describe('a product', () => {
  test('is created, and found by its id and its handle', async () => {
    const sent = product()
    const answer = await catalog.upsertProduct({ product: sent })
    expect(answer).toEqual({
      product: { ...sent, id: expect.stringMatching(/^p-/), updatedAt: expect.any(String) },
      created: true,
    })
    for (const idOrHandle of [answer.product!.id, sent.handle])
      expect((await catalog.getProduct({ idOrHandle })).product).toEqual(answer.product)
  })

  test('sent again unchanged is not written again', async () => {
    const first = await upsert()
    expect(await catalog.upsertProduct({ product: first })).toEqual({ product: first, created: false })
  })

  test('keeps whatever attributes it is given', async () => {
    const attributes = {
      'a.b': { $gt: 1, '': 'x' },
      '100%': [1.5, null, true, -0.25, 1e21, 9007199254740991],
      'é 🏺': 'line\nline',
      _id: 'x',
      value: {},
    }
    const { '': _, ...named } = attributes['a.b']
    expect((await upsert({ attributes: { ...attributes, 'a.b': named } })).attributes).toEqual({
      ...attributes,
      'a.b': named,
    })
  })

  test('replaced by one with other SKUs releases the former ones', async () => {
    const first = await upsert()
    const [kept, gone] = first.variants
    const fresh = variant(`${first.handle}-3`)
    await catalog.upsertProduct({ product: { ...first, variants: [kept!, fresh] } })
    const { variants } = await catalog.batchGetVariants({ skus: [kept!.sku, gone!.sku, fresh.sku] })
    expect(variants.map((v) => v.sku).sort()).toEqual([kept!.sku, fresh.sku].sort())
    expect((await upsert({ variants: [variant(gone!.sku)] })).variants[0]!.sku).toBe(gone!.sku)
  })

  test('with a SKU of another product is refused, and nothing of it is stored', async () => {
    const {
      variants: [taken],
    } = await upsert()
    const other = product({ variants: [variant(ulid()), taken!] })
    await expect(catalog.upsertProduct({ product: other })).rejects.toMatchObject({
      kind: 'exists',
      code: 'sku_taken',
      fields: [{ field: 'variants.1.sku' }],
    })
    await expect(catalog.getProduct({ idOrHandle: other.handle })).rejects.toEqual(code('product_not_found'))
  })

  test('alone gets a SKU that ten products ask for at once', async () => {
    const sku = ulid()
    const outcomes = await Promise.allSettled(
      Array.from({ length: 10 }, () => catalog.upsertProduct({ product: product({ variants: [variant(sku)] }) })),
    )
    expect(outcomes.flatMap((o) => (o.status === 'rejected' ? [o.reason.code] : []))).toEqual(
      Array(9).fill('sku_taken'),
    )
  })

  test.each<[string, Partial<Product>]>([
    ['handle', { handle: 'Clay Pot' }],
    ['title', { title: 'a\0b' }],
    ['categoryId', { categoryId: 'c-aaaaaaaaaa' }],
    ['categoryId', { categoryId: "' or ''='" }],
    ['variants.0.price.amount', { variants: [variant('x', { price: { amount: -1, currency: 'USD' } })] }],
    ['variants', { variants: [] }],
  ])('with a wrong %s is refused by that name', async (field, wrong) => {
    await expect(catalog.upsertProduct({ product: product(wrong) })).rejects.toMatchObject({
      kind: 'invalid',
      fields: [{ field }],
    })
  })

  test.each([
    ['nothing', ''],
    ['a NUL', '\0'],
    ['bars', 'a||b'],
    ['a long text', 'x'.repeat(100_000)],
    ['an unknown id', `p-${'a'.repeat(26)}`],
  ])('is not found by %s', async (_, idOrHandle) => {
    await expect(catalog.getProduct({ idOrHandle })).rejects.toEqual(code('product_not_found'))
  })
})

test('a SKU is the same however its letters are composed', async () => {
  const sku = `Caf\u00e9-${ulid()}`
  const spellings = [sku, ` ${sku.normalize('NFD')} `]
  const { handle, variants: stored } = await upsert({ variants: [variant(spellings[1]!)] })
  expect(stored[0]!.sku).toBe(sku)
  const { variants } = await catalog.batchGetVariants({ skus: spellings })
  expect(variants.map((v) => v.sku)).toEqual([sku])
  for (const [amount, spelling] of spellings.entries())
    await catalog.changePrice({ sku: spelling, price: { amount, currency: 'USD' } })
  expect((await catalog.getProduct({ idOrHandle: handle })).product!.variants[0]!.price!.amount).toBe(1)
})

describe('prices', () => {
  test('of many SKUs are read at once, without those that are unknown or not published', async () => {
    const [shown, hidden] = [await upsert(), await upsert({ published: false })]
    const skus = [...shown.variants, ...hidden.variants].map((v) => v.sku)
    const { variants } = await catalog.batchGetVariants({
      skus: [...skus, ...skus, 'no such', '\0', '', 'x'.repeat(10_000)],
    })
    expect(variants.map((v) => v.sku).sort()).toEqual(shown.variants.map((v) => v.sku).sort())
    expect(variants[0]).toMatchObject({
      productId: shown.id,
      title: shown.title,
      price: { amount: 999, currency: 'USD' },
    })
  })

  test('are changed one at a time, in the product too', async () => {
    const {
      id,
      variants: [one, other],
    } = await upsert()
    const price = { amount: 1, currency: 'EUR' }
    const { product: changed } = await catalog.changePrice({ sku: one!.sku, price })
    expect(changed!.variants.map((v) => v.price)).toEqual([price, other!.price])
    expect((await catalog.getProduct({ idOrHandle: id })).product).toEqual(changed)
    expect((await catalog.batchGetVariants({ skus: [one!.sku] })).variants[0]!.price).toEqual(price)
    expect((await catalog.changePrice({ sku: one!.sku, price })).product).toEqual(changed)
  })

  test('of two variants changed at the same time are both kept', async () => {
    const { id, variants } = await upsert()
    await Promise.all(
      variants.map((v, i) => catalog.changePrice({ sku: v.sku, price: { amount: i, currency: 'USD' } })),
    )
    expect((await catalog.getProduct({ idOrHandle: id })).product!.variants.map((v) => v.price!.amount)).toEqual([0, 1])
  })

  test('of an unknown SKU cannot be changed, nor to an invalid price', async () => {
    const price = { amount: 1, currency: 'USD' }
    for (const sku of ['no such', '', '\0', 'a||b'])
      await expect(catalog.changePrice({ sku, price })).rejects.toEqual(code('sku_not_found'))
    await expect(catalog.changePrice({ sku: 'x', price: undefined })).rejects.toMatchObject({
      fields: [{ field: 'price' }],
    })
    await expect(catalog.changePrice({ sku: 'x', price: { amount: -1, currency: 'USD' } })).rejects.toMatchObject({
      fields: [{ field: 'price.amount' }],
    })
  })

  test('are read for at most 200 SKUs at a time', async () => {
    await expect(catalog.batchGetVariants({ skus: Array(201).fill('x') })).rejects.toMatchObject({
      fields: [{ field: 'skus' }],
    })
  })
})

test('changes are published in order, and what does not change is not published', async () => {
  const first = await upsert()
  const [{ sku }] = first.variants as [Variant]
  const price = { amount: 1, currency: 'USD' }
  await catalog.upsertProduct({ product: first })
  await catalog.changePrice({ sku, price })
  await catalog.changePrice({ sku, price })
  const { product: last } = await catalog.upsertProduct({ product: { ...first, title: 'Pot' } })
  const variants = (p: Product) => p.variants.map((v) => ({ sku: v.sku, price: v.price }))
  const { id: productId, handle } = first
  expect(await published.eventsOf(productId, 3)).toMatchObject([
    {
      type: 'products.product-upserted.v1',
      source: 'catalog',
      sequence: '1',
      data: { productId, handle, title: 'Clay pot', variants: variants(first) },
    },
    { type: 'products.price-changed.v1', sequence: '2', data: { productId, sku, price } },
    {
      type: 'products.product-upserted.v1',
      sequence: '3',
      data: { productId, handle, title: 'Pot', variants: variants(last!) },
    },
  ])
})

describe('categories', () => {
  test('are created along a path, once, however many calls do it at once', async () => {
    const top = ulid()
    const made = await Promise.all(
      Array.from({ length: 20 }, (_, i) => catalog.ensureCategory({ names: [top, `Décor 🏺 ${i % 2}`, 'Pots'] })),
    )
    expect(new Set(made.map((m) => m.category!.id)).size).toBe(2)
    const [id] = made[0]!.category!.path.split('/')
    const { category: parent, children } = await catalog.getCategory({ categoryId: id! })
    expect(parent).toEqual({ id, name: top, parentId: '', path: `${id}/` })
    expect(children.map((c) => c.name)).toEqual(['Décor 🏺 0', 'Décor 🏺 1'])
  })

  test('are listed parents first', async () => {
    const leaf = await category(ulid(), 'a', 'b', 'c')
    const { categories } = await catalog.listCategories({})
    const seen = new Set([''])
    for (const c of categories) {
      expect(seen).toContain(c.parentId)
      seen.add(c.id)
    }
    expect(seen).toContain(leaf.id)
  })

  test.each([
    ['nothing', ''],
    ['an unknown id', 'c-aaaaaaaaaa'],
    ['SQL', "' or ''='"],
    ['a NUL', '\0'],
  ])('are not found by %s', async (_, categoryId) => {
    await expect(catalog.getCategory({ categoryId })).rejects.toEqual(code('category_not_found'))
    if (categoryId)
      await expect(catalog.listProducts({ categoryId, limit: 1, cursor: '' })).rejects.toEqual(
        code('category_not_found'),
      )
  })
})

describe('a list', () => {
  test('has the published products of a category and of all below it, each once, for any page size', async () => {
    const top = ulid()
    const [home, pots, other] = [await category(top), await category(top, 'Pots'), await category(`${top} too`)]
    const inPots = await Promise.all(Array.from({ length: 5 }, () => upsert({ categoryId: pots.id })))
    const inHome = await upsert({ categoryId: home.id })
    await upsert({ categoryId: pots.id, published: false })
    await upsert({ categoryId: other.id })
    const ids = (products: Product[]) => products.map((p) => p.id)
    const everything = ids([...inPots, inHome]).sort()
    for (const limit of [1, 2, 6, 100]) expect(ids(await everyPage(home.id, limit))).toEqual(everything)
    expect(ids(await everyPage(pots.id, 3))).toEqual(ids(inPots).sort())
    expect(ids(await everyPage('', 100))).toEqual(expect.arrayContaining(everything))
  })

  test('reads no more than it returns, wherever the page begins', async () => {
    const { id } = await category(ulid())
    const made = []
    for (let i = 0; i < 12; i++) made.push(await upsert({ categoryId: id }))
    const client = await new MongoClient(process.env['TEST_MONGODB_URI'] ?? '').connect()
    const state = client.db(service.database).collection<{ _id: string }>('state')
    for (const after of [undefined, made.map((p) => p.id).sort()[5]]) {
      const { filter, sort, limit, projection } = pageQuery({ categoryId: id, after, limit: 4 })
      const plan = await state.find(filter, { sort, limit, projection }).explain('executionStats')
      expect(plan.executionStats).toMatchObject({ nReturned: 4, totalKeysExamined: 4, totalDocsExamined: 4 })
      expect(JSON.stringify(plan.queryPlanner.winningPlan)).not.toContain('SORT')
    }
    await client.close()
  })

  test('drops what is no longer published and follows what moves', async () => {
    const [from, to] = [await category(ulid()), await category(ulid())]
    const [moved, hidden] = [await upsert({ categoryId: from.id }), await upsert({ categoryId: from.id })]
    await catalog.upsertProduct({ product: { ...moved, categoryId: to.id } })
    await catalog.upsertProduct({ product: { ...hidden, published: false } })
    expect(await everyPage(from.id, 10)).toEqual([])
    expect((await everyPage(to.id, 10)).map((p) => p.id)).toEqual([moved.id])
  })

  test('of huge products has shorter pages', async () => {
    const { id } = await category(ulid())
    // 190 KB each, and one message has at most 4 MiB.
    const images = Array.from({ length: 50 }, (_, i) => `https://example.com/${i}/`.padEnd(2_000, 'x'))
    const made = []
    for (let i = 0; i < 25; i++)
      made.push(
        await upsert({
          categoryId: id,
          description: 'x'.repeat(64 * 1024),
          images,
          attributes: { x: 'x'.repeat(32_000) },
        }),
      )
    for (const limit of [24, 100])
      expect((await everyPage(id, limit)).map((p) => p.id)).toEqual(made.map((p) => p.id).sort())
  }, 60_000)

  test('refuses a cursor that was never issued, and a wrong limit', async () => {
    for (const cursor of ['x', '\0', 'eyJ9', '1.p-aaaa'])
      await expect(catalog.listProducts({ categoryId: '', limit: 10, cursor })).rejects.toEqual(code('bad_cursor'))
    for (const limit of [0, -1, 101])
      await expect(catalog.listProducts({ categoryId: '', limit, cursor: '' })).rejects.toMatchObject({
        fields: [{ field: 'limit' }],
      })
  })
})

describe('availability', () => {
  const available = async (idOrHandle: string) =>
    (await catalog.getProduct({ idOrHandle })).product!.variants.map((v) => v.available)

  test('follows the stock events, in the product and in lists', async () => {
    const { id: categoryId } = await category(ulid())
    const {
      id,
      variants: [one, other],
    } = await upsert({ categoryId })
    expect(await available(id)).toEqual([0, 0])
    await stockEvent('stock.stock-adjusted.v1', [{ sku: one!.sku, available: 5, version: 1 }])
    await stockEvent('stock.stock-reserved.v1', [
      { sku: one!.sku, available: 3, version: 2 },
      { sku: other!.sku, available: 7, version: 1 },
    ])
    expect(await available(id)).toEqual([3, 7])
    expect((await everyPage(categoryId, 10))[0]!.variants.map((v) => v.available)).toEqual([3, 7])
  })

  test('is not set back by an event that comes again or late', async () => {
    const {
      id,
      variants: [one],
    } = await upsert()
    const level = (version: number) => [{ sku: one!.sku, available: version * 10, version }]
    for (const version of [1, 3, 2, 1, 3]) expect(await stockEvent('stock.stock-sold.v1', level(version))).toBe(success)
    expect((await available(id))[0]).toBe(30)
    await Promise.all([5, 4, 6, 4, 5].map((v) => stockEvent('stock.stock-released.v1', level(v))))
    expect((await available(id))[0]).toBe(60)
  })

  test('is kept when the product is written again', async () => {
    const first = await upsert()
    await stockEvent('stock.stock-adjusted.v1', [{ sku: first.variants[0]!.sku, available: 5, version: 1 }])
    const { product: again } = await catalog.upsertProduct({ product: { ...first, title: 'Pot' } })
    expect(again!.variants.map((v) => v.available)).toEqual([5, 0])
  })

  test('ignores an unknown event type; an event that can never be handled is dropped', async () => {
    expect(await stockEvent('stock.something-new.v9', [])).toBe(success)
    expect(await stockEvent('stock.stock-adjusted.v1', 'nonsense' as never)).toBe(drop)
  })
})

test('while its store is down it says so soon and keeps events waiting, and resumes once it is back', async () => {
  const {
    id,
    handle,
    variants: [one],
  } = await upsert()
  const store = service.component('outbox-mongodb')
  await store.kill()
  const asked = Date.now()
  await expect(catalog.getProduct({ idOrHandle: handle })).rejects.toMatchObject({ kind: 'unavailable' })
  await expect(catalog.listProducts({ categoryId: '', limit: 1, cursor: '' })).rejects.toMatchObject({
    kind: 'unavailable',
  })
  expect(await stockEvent('stock.stock-adjusted.v1', [{ sku: one!.sku, available: 5, version: 1 }])).toBe(retry)
  expect(Date.now() - asked).toBeLessThan(9_000)
  await store.start()
  await vi.waitFor(
    () =>
      stockEvent('stock.stock-adjusted.v1', [{ sku: one!.sku, available: 5, version: 1 }]).then((s) =>
        expect(s).toBe(success),
      ),
    { timeout: 20_000, interval: 100 },
  )
  expect((await catalog.getProduct({ idOrHandle: id })).product!.variants[0]!.available).toBe(5)
})
