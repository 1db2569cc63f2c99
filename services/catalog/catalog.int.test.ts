import { MongoClient } from 'mongodb'
import { ulid } from 'ulid'
import { afterAll, describe, expect, test, vi } from 'vitest'
import { AppCallbackService, TopicEventRequest } from '#protos/dapr/proto/runtime/v1/appcallback.ts'
import { CatalogServiceService, type ProductInput, type VariantInput } from '#protos/shop/catalog/v1/catalog.ts'
import { watchTopic } from '../../platform/testing/events.ts'
import { startService } from '../../platform/testing/service.ts'
import { newestKey } from './product.ts'
import { pageQuery } from './product-store.ts'

const [service, published, availability] = await Promise.all([
  startService('catalog'),
  watchTopic('products'),
  watchTopic('product-availability'),
])
afterAll(() => Promise.all([service.close(), published.close(), availability.close()]))
const catalog = service.client(CatalogServiceService)
const callback = service.client(AppCallbackService)

const code = (code: string) => expect.objectContaining({ code })
const newHandle = () => `pot-${ulid().toLowerCase()}`
const usd = (amount: number) => ({ amount, currency: 'USD' })
const variant = (sku: string, o: Partial<VariantInput> = {}): VariantInput => ({
  sku,
  options: { SKU: sku },
  price: usd(999),
  ...o,
})
function product(o: Partial<ProductInput> = {}): ProductInput {
  const handle = newHandle()
  return {
    handle,
    title: 'Clay pot',
    description: '<p>For plants</p>',
    vendor: 'Company 123',
    categoryId: '',
    images: ['https://example.com/pot.jpg'],
    attributes: { material: 'clay' },
    variants: [variant(`${handle}-1`), variant(`${handle}-2`)],
    published: true,
    ...o,
  }
}
/** A product as its JSON says. */
type Json = Omit<ProductInput, 'variants'> & {
  id: string
  variants: (VariantInput & { available: number })[]
  available: number
  createdAt: string
  updatedAt: string
}
const parse = (json: Uint8Array): Json => JSON.parse(Buffer.from(json).toString())
const inputOf = (json: Json): ProductInput => ({
  handle: json.handle,
  title: json.title,
  description: json.description,
  vendor: json.vendor,
  categoryId: json.categoryId,
  images: json.images,
  attributes: json.attributes,
  variants: json.variants.map(({ sku, options, price }) => ({ sku, options, price })),
  published: json.published,
})

const admin = { userId: 'u-admin', isAdmin: true }
const seller = (userId: string) => ({ userId, isAdmin: false })

async function replace(sent: ProductInput, { ifMatch = '', actor = admin } = {}) {
  const { written } = await catalog.replaceProduct({ product: sent, ifMatch, ...actor })
  return { ...written!, product: parse(written!.product!.json), etag: written!.product!.etag }
}
async function create(sent: ProductInput, o: { idempotencyKey?: string; userId?: string; isAdmin?: boolean } = {}) {
  const { written } = await catalog.createProduct({ product: sent, idempotencyKey: '', ...admin, ...o })
  return { ...written!, product: parse(written!.product!.json) }
}
const noChange = {
  title: undefined,
  description: undefined,
  vendor: undefined,
  categoryId: undefined,
  images: undefined,
  attributes: undefined,
  variants: [],
  published: undefined,
  ifMatch: '',
  ...admin,
}
type Change = Partial<Parameters<typeof catalog.changeProduct>[0]>
async function change(idOrHandle: string, o: Change) {
  const { written } = await catalog.changeProduct({ ...noChange, idOrHandle, ...o })
  return { product: parse(written!.product!.json), etag: written!.product!.etag }
}
const priced = (sku: string, amount: number) => ({ variants: [{ sku, options: undefined, price: usd(amount) }] })
const find = async (idOrHandle: string) => parse((await catalog.getProduct({ idOrHandle })).product!.json)
const upsert = async (o: Partial<ProductInput> = {}) => (await replace(product(o))).product
async function category(...names: string[]) {
  return (await catalog.ensureCategory({ names })).category!
}
async function everyPage(categoryId: string, limit: number): Promise<Json[]> {
  const products = []
  for (let cursor = ''; ;) {
    const page = await catalog.listProducts({ categoryId, limit, cursor, after: undefined })
    products.push(...page.products.map(parse))
    cursor = page.nextCursor
    if (cursor === '') return products
  }
}
/** Delivers an event of topic stock-levels as the sidecar does. */
async function stockEvent(
  levels: { sku: string; available: number; version: number; ordered?: number }[],
  type = 'stock.levels-changed.v1',
) {
  const data = Buffer.from(JSON.stringify({ levels }))
  const { status } = await callback.onTopicEvent(
    TopicEventRequest.fromPartial({
      id: ulid(),
      type,
      topic: 'stock-levels',
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
    const answer = await replace(sent)
    expect(answer).toMatchObject({
      product: {
        ...sent,
        id: expect.stringMatching(/^p-/),
        variants: sent.variants.map((each) => ({ ...each, available: 0 })),
        available: 0,
        createdAt: answer.product.updatedAt,
      },
      created: true,
      replayed: false,
    })
    for (const idOrHandle of [answer.product.id, sent.handle]) {
      expect(await find(idOrHandle)).toEqual(answer.product)
      expect((await catalog.getProduct({ idOrHandle })).product!.etag).toBe(answer.etag)
    }
  })

  test('sent again unchanged is not written again', async () => {
    const sent = product()
    const first = await replace(sent)
    expect(await replace(sent)).toEqual({ ...first, created: false })
  })

  test('that must be new is created once, and a repeat of the request returns it', async () => {
    const [sent, by] = [product(), { idempotencyKey: 'k-1', userId: 'u-1' }]
    const first = await create(sent, by)
    expect(first).toMatchObject({ created: true, replayed: false })
    expect(await create(sent, by)).toEqual({ ...first, replayed: true })
    // Also after a change, which keeps what created it.
    const title = 'Changed'
    await replace({ ...sent, title })
    expect(await create(sent, by)).toMatchObject({ replayed: true, product: { id: first.product.id, title } })

    const refused = [
      create({ ...sent, title: 'Another' }, by),
      create(sent, { ...by, userId: 'u-2' }),
      create(sent, { ...by, idempotencyKey: 'k-2' }),
      create(sent, { ...by, idempotencyKey: '' }),
    ]
    expect(await Promise.allSettled(refused)).toEqual(
      ['idempotency_key_reused', 'handle_taken', 'handle_taken', 'handle_taken'].map((code) =>
        expect.objectContaining({ status: 'rejected', reason: expect.objectContaining({ code }) }),
      ),
    )
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
    const sent = product()
    await replace(sent)
    const [kept, gone] = sent.variants
    const fresh = variant(`${sent.handle}-3`)
    await replace({ ...sent, variants: [kept!, fresh] })
    const { variants } = await catalog.batchGetVariants({ skus: [kept!.sku, gone!.sku, fresh.sku] })
    expect(variants.map((v) => v.sku).sort()).toEqual([kept!.sku, fresh.sku].sort())
    expect((await upsert({ variants: [variant(gone!.sku)] })).variants[0]!.sku).toBe(gone!.sku)
  })

  test('with a SKU of another product is refused, and nothing of it is stored', async () => {
    const {
      variants: [taken],
    } = await upsert()
    const other = product({ variants: [variant(ulid()), variant(taken!.sku)] })
    await expect(replace(other)).rejects.toMatchObject({
      kind: 'exists',
      code: 'sku_taken',
      fields: [{ field: 'variants.1.sku' }],
    })
    await expect(find(other.handle)).rejects.toEqual(code('product_not_found'))
  })

  test('alone gets a SKU that ten products ask for at once', async () => {
    const sku = ulid()
    const outcomes = await Promise.allSettled(
      Array.from({ length: 10 }, () => replace(product({ variants: [variant(sku)] }))),
    )
    expect(outcomes.flatMap((o) => (o.status === 'rejected' ? [o.reason.code] : []))).toEqual(
      Array(9).fill('sku_taken'),
    )
  })

  test('that is removed is gone, and its handle and SKUs are free', async () => {
    const sent = product()
    const first = await create(sent)
    await catalog.deleteProduct({ idOrHandle: sent.handle, ifMatch: '', ...admin })
    await expect(find(sent.handle)).rejects.toEqual(code('product_not_found'))
    expect(await catalog.batchGetVariants({ skus: sent.variants.map((v) => v.sku) })).toEqual({ variants: [] })
    await expect(catalog.deleteProduct({ idOrHandle: sent.handle, ifMatch: '', ...admin })).rejects.toEqual(
      code('product_not_found'),
    )
    await replace(product({ variants: [sent.variants[0]!] }))
    const again = await create({ ...sent, variants: [sent.variants[1]!] })
    expect(again.product.id).toBe(first.product.id)
    const events = await published.eventsOf(first.product.id, 3)
    expect(events.map(({ type }) => type)).toEqual([
      'products.product-upserted.v1',
      'products.product-deleted.v1',
      'products.product-upserted.v1',
    ])
    const versions = events.map(({ data }) => (data as { version: number }).version)
    expect(versions).toEqual(versions.toSorted((a, b) => a - b))
    expect(new Set(versions).size).toBe(3)
  })

  test.each<[string, Partial<ProductInput>]>([
    ['handle', { handle: 'Clay Pot' }],
    ['title', { title: 'a\0b' }],
    ['categoryId', { categoryId: 'c-aaaaaaaaaa' }],
    ['categoryId', { categoryId: "' or ''='" }],
    ['variants.0.price.amount', { variants: [variant('x', { price: { amount: -1, currency: 'USD' } })] }],
    ['variants', { variants: [] }],
  ])('with a wrong %s is refused by that name', async (field, wrong) => {
    await expect(replace(product(wrong))).rejects.toMatchObject({
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
  for (const [amount, spelling] of spellings.entries()) await change(handle, priced(spelling, amount))
  expect((await find(handle)).variants[0]!.price!.amount).toBe(1)
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
    const { product: changed } = await change(id, priced(one!.sku, 1))
    expect(changed.variants.map((v) => v.price)).toEqual([usd(1), other!.price])
    expect(await find(id)).toEqual(changed)
    expect((await catalog.batchGetVariants({ skus: [one!.sku] })).variants[0]!.price).toEqual(usd(1))
    expect((await change(id, priced(one!.sku, 1))).product).toEqual(changed)
  })

  test('of an unknown SKU cannot be changed, nor to an invalid price', async () => {
    const { id, variants } = await upsert()
    for (const sku of ['no such', '', '\0', 'a||b'])
      await expect(change(id, priced(sku, 1))).rejects.toMatchObject({
        code: 'sku_not_found',
        fields: [{ field: 'variants.0.sku' }],
      })
    await expect(change(id, priced(variants[0]!.sku, -1))).rejects.toMatchObject({
      fields: [{ field: 'variants.0.price.amount' }],
    })
  })

  test('are read for at most 200 SKUs at a time', async () => {
    await expect(catalog.batchGetVariants({ skus: Array(201).fill('x') })).rejects.toMatchObject({
      fields: [{ field: 'skus' }],
    })
  })
})

test('changes are published in order, with the whole product, and what does not change is not published', async () => {
  const sent = product()
  const { product: first } = await replace(sent)
  const { sku } = first.variants[0]!
  await replace(sent)
  await change(first.id, priced(sku, 1))
  await change(first.id, priced(sku, 1))
  const { product: last } = await change(first.id, { title: 'Pot' })
  const whole = ({ id: productId, ...rest }: Json) => ({ productId, ...rest, categoryIds: [], popularity: 0 })
  const events = await published.eventsOf(first.id, 4)
  expect(events).toMatchObject([
    { type: 'products.product-upserted.v1', source: 'catalog', sequence: '1', data: whole(first) },
    { type: 'products.price-changed.v1', sequence: '2', data: { productId: first.id, sku, price: usd(1) } },
    { type: 'products.product-upserted.v1', sequence: '3' },
    { type: 'products.product-upserted.v1', sequence: '4', data: whole(last) },
  ])
})

describe('changes at the same time', () => {
  test('of two prices, a title and an image are all kept', async () => {
    const { id, variants } = await upsert()
    await Promise.all([
      ...variants.map((v, i) => change(id, priced(v.sku, i))),
      change(id, { title: 'New' }),
      change(id, { images: { values: ['https://example.com/new.jpg'] } }),
    ])
    expect(await find(id)).toMatchObject({
      title: 'New',
      images: ['https://example.com/new.jpg'],
      variants: [{ price: usd(0) }, { price: usd(1) }],
    })
  })

  test('by two who have read the same: the second is refused, and stock is no reason', async () => {
    const sent = product()
    const { product: first, etag } = await replace(sent)
    await stockEvent([{ sku: first.variants[0]!.sku, available: 5, version: 1 }])
    const read = (await catalog.getProduct({ idOrHandle: first.id })).product!
    expect(read.etag).not.toBe(etag)
    const { etag: next } = await change(first.id, { title: 'A', ifMatch: etag })
    for (const ifMatch of [etag, read.etag, `W/${etag}`, '"x"', 'x']) {
      const refused = { kind: 'rejected', code: 'product_changed' }
      await expect(change(first.id, { title: 'B', ifMatch })).rejects.toMatchObject(refused)
      await expect(replace(sent, { ifMatch })).rejects.toMatchObject(refused)
      await expect(catalog.deleteProduct({ idOrHandle: first.id, ifMatch, ...admin })).rejects.toMatchObject(refused)
    }
    expect((await find(first.id)).title).toBe('A')
    await change(first.id, { title: 'C', ifMatch: `"0.0", W/${next}` })
    await change(first.id, { title: 'D', ifMatch: '*' })
    await expect(replace(product(), { ifMatch: '*' })).rejects.toEqual(code('product_changed'))
  })
})

describe('sellers', () => {
  const notOwner = { kind: 'forbidden', code: 'not_owner' }
  const [one, other] = [seller(`u-${ulid()}`), seller(`u-${ulid()}`)]
  const remove = (idOrHandle: string, actor: typeof admin) =>
    catalog.deleteProduct({ idOrHandle, ifMatch: '', ...actor })

  test('change and remove what they created, and nothing of others', async () => {
    const sent = product()
    await create(sent, one)
    for (const attempt of [
      () => replace({ ...sent, title: 'Mine' }, { actor: other }),
      () => change(sent.handle, { title: 'Mine', ...other }),
      () => remove(sent.handle, other),
    ])
      await expect(attempt()).rejects.toMatchObject(notOwner)
    expect((await find(sent.handle)).title).toBe(sent.title)
    expect((await replace({ ...sent, title: 'A' }, { actor: one })).product.title).toBe('A')
    expect((await change(sent.handle, { title: 'B', ...one })).product.title).toBe('B')
    await remove(sent.handle, one)
    await expect(find(sent.handle)).rejects.toEqual(code('product_not_found'))
  })

  test("keep what an admin changes; what an admin creates is no seller's", async () => {
    const sent = product()
    await replace(sent, { actor: one })
    await replace({ ...sent, title: 'A' })
    await change(sent.handle, { title: 'B', ...one })
    const { handle } = await upsert()
    await expect(change(handle, { title: 'Mine', ...one })).rejects.toMatchObject(notOwner)
  })

  test('do not learn of what others have not published, except that its handle is in use', async () => {
    const sent = product({ published: false })
    await create(sent, one)
    const { product: found } = await catalog.getProduct({ idOrHandle: sent.handle })
    expect(found).toMatchObject({ published: false, sellerId: one.userId })
    await expect(change(sent.handle, { title: 'Mine', ...other })).rejects.toEqual(code('product_not_found'))
    await expect(remove(sent.handle, other)).rejects.toEqual(code('product_not_found'))
    await expect(replace(sent, { actor: other })).rejects.toMatchObject(notOwner)
    await expect(create(sent, other)).rejects.toEqual(code('handle_taken'))
  })

  test('in a bulk, the products of others are refused, each for itself', async () => {
    const [mine, theirs] = [product(), product()]
    await create(theirs, other)
    const { results } = await catalog.bulkReplaceProducts({ products: [mine, theirs], ...one })
    expect(results).toMatchObject([{ outcome: 'created' }, { outcome: 'refused', code: 'not_owner' }])
    await change(mine.handle, { title: 'B', ...one })
  })

  test('have the SKUs of their products, published or not, for as long as these have them', async () => {
    const sent = product({ published: false })
    const skus = sent.variants.map(({ sku }) => sku)
    const check = (all: string[], actor: typeof admin) => catalog.checkSkuOwner({ skus: all, ...actor })
    await expect(check(skus, one)).rejects.toMatchObject(notOwner)
    await create(sent, one)
    await check(
      skus.map((sku) => ` ${sku} `),
      one,
    )
    await check([...skus, 'nobody has it'], admin)
    await expect(check([...skus, 'nobody has it'], one)).rejects.toMatchObject(notOwner)
    await expect(check(skus, other)).rejects.toMatchObject(notOwner)
    await remove(sent.handle, one)
    await expect(check(skus, one)).rejects.toMatchObject(notOwner)
  })

  test('nobody is nobody', async () => {
    const nobody = { userId: '', isAdmin: true }
    for (const attempt of [
      () => create(product(), nobody),
      () => replace(product(), { actor: nobody }),
      () => change('a', { title: 'B', ...nobody }),
      () => remove('a', nobody),
      () => catalog.bulkReplaceProducts({ products: [], ...nobody }),
      () => catalog.checkSkuOwner({ skus: [], ...nobody }),
    ])
      await expect(attempt()).rejects.toMatchObject({ kind: 'invalid', fields: [{ field: 'userId' }] })
  })
})

describe('a bulk', () => {
  test('writes what is right, and names what is wrong with each of the others', async () => {
    const [good, bad, taken] = [product(), product({ title: '' }), product()]
    const known = await upsert()
    const { results } = await catalog.bulkReplaceProducts({
      ...admin,
      products: [
        good,
        bad,
        { ...taken, variants: [variant(known.variants[0]!.sku)] },
        { ...good, title: 'Later' },
        { ...good, title: 'Later' },
        product({ categoryId: 'c-aaaaaaaaaa' }),
      ],
    })
    expect(results).toMatchObject([
      { outcome: 'created', productId: expect.stringMatching(/^p-/) },
      { outcome: 'refused', code: 'invalid_field', errors: [{ field: 'title' }], productId: '' },
      { outcome: 'refused', code: 'sku_taken', errors: [{ field: 'variants.0.sku' }] },
      { outcome: 'replaced' },
      { outcome: 'unchanged' },
      { outcome: 'refused', errors: [{ field: 'categoryId' }] },
    ])
    expect((await find(good.handle)).title).toBe('Later')
  })

  test('of 1,000 products is written, and writing it again changes nothing', async () => {
    const products = Array.from({ length: 1_000 }, () => product())
    for (const outcome of ['created', 'unchanged']) {
      const { results } = await catalog.bulkReplaceProducts({ products, ...admin })
      expect(new Set(results.map((each) => each.outcome))).toEqual(new Set([outcome]))
    }
    await expect(catalog.bulkReplaceProducts({ products: [...products, product()], ...admin })).rejects.toMatchObject({
      fields: [{ field: 'products' }],
    })
  }, 60_000)
})

test('products are found by their SKUs, each once, unless they are not published', async () => {
  const [shown, hidden] = [await upsert(), await upsert({ published: false })]
  const skus = [...shown.variants, ...hidden.variants].map((v) => v.sku)
  const { products } = await catalog.batchGetProducts({ skus: [...skus, 'no such', '\0'] })
  expect(products.map(parse)).toEqual([shown])
})

test('every product is in a scan, published or not, as events carry it', async () => {
  const made = [await upsert(), await upsert({ published: false })]
  const found = new Map<string, Record<string, unknown>>()
  for (let afterId = ''; ;) {
    const { products, lastId } = await catalog.scanProducts({ afterId, limit: 7 })
    for (const each of products) {
      const data = JSON.parse(Buffer.from(each).toString())
      expect(found.has(data.productId)).toBe(false)
      found.set(data.productId, data)
    }
    if (lastId === '') break
    afterId = lastId
  }
  for (const { id } of made) expect(found.get(id)).toEqual((await published.eventsOf(id, 1))[0]!.data)
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
    expect(parent).toMatchObject({ id, name: top, parentId: '', path: `${id}/` })
    expect(children.map((c) => c.name)).toEqual(['Décor 🏺 0', 'Décor 🏺 1'])
  })

  test('are listed parents first', async () => {
    const leaf = await category(ulid(), 'a', 'b', 'c')
    const { categories } = await catalog.listCategories({ parentId: '', limit: 1_000, cursor: '', descendants: true })
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
      await expect(catalog.listProducts({ categoryId, limit: 1, cursor: '', after: undefined })).rejects.toEqual(
        code('category_not_found'),
      )
  })
})

describe('a list', () => {
  const newestFirst = (products: Json[]) =>
    products.toSorted((a, b) => b.createdAt.localeCompare(a.createdAt) || (a.id < b.id ? -1 : 1))

  test('has the published products of a category and of all below it, each once, for any page size', async () => {
    const top = ulid()
    const [home, pots, other] = [await category(top), await category(top, 'Pots'), await category(`${top} too`)]
    const inPots = await Promise.all(Array.from({ length: 5 }, () => upsert({ categoryId: pots.id })))
    const inHome = await upsert({ categoryId: home.id })
    await upsert({ categoryId: pots.id, published: false })
    await upsert({ categoryId: other.id })
    const ids = (products: Json[]) => products.map((p) => p.id)
    const everything = ids(newestFirst([...inPots, inHome]))
    for (const limit of [1, 2, 6, 100]) expect(ids(await everyPage(home.id, limit))).toEqual(everything)
    expect(ids(await everyPage(pots.id, 3))).toEqual(ids(newestFirst(inPots)))
    expect(ids(await everyPage('', 100))).toEqual(expect.arrayContaining(everything))
  })

  test('reads no more than it returns, wherever the page begins', async () => {
    const { id } = await category(ulid())
    const made = []
    for (let i = 0; i < 12; i++) made.push(await upsert({ categoryId: id }))
    const client = await new MongoClient(process.env['TEST_MONGODB_URI'] ?? '').connect()
    const state = client.db(service.database).collection<{ _id: string }>('state')
    for (const after of [undefined, newestKey(newestFirst(made)[5]!)]) {
      const { filter, sort, limit } = pageQuery({ list: id, after, limit: 4 })
      const plan = await state.find(filter, { sort, limit }).explain('executionStats')
      expect(plan.executionStats).toMatchObject({ nReturned: 4, totalKeysExamined: 4, totalDocsExamined: 4 })
      expect(JSON.stringify(plan.queryPlanner.winningPlan)).not.toContain('SORT')
    }
    await client.close()
  })

  test('drops what is no longer published and follows what moves', async () => {
    const [from, to] = [await category(ulid()), await category(ulid())]
    const [moved, hidden] = [await upsert({ categoryId: from.id }), await upsert({ categoryId: from.id })]
    await replace({ ...inputOf(moved), categoryId: to.id })
    await change(hidden.id, { published: false })
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
      expect((await everyPage(id, limit)).map((p) => p.id)).toEqual(newestFirst(made).map((p) => p.id))
  }, 60_000)

  test('refuses a cursor that was never issued, and a wrong limit', async () => {
    for (const cursor of ['x', '\0', 'eyJ9', '2.p-aaaa'])
      await expect(catalog.listProducts({ categoryId: '', limit: 10, cursor, after: undefined })).rejects.toEqual(
        code('bad_cursor'),
      )
    for (const limit of [0, -1, 101])
      await expect(catalog.listProducts({ categoryId: '', limit, cursor: '', after: undefined })).rejects.toMatchObject(
        { fields: [{ field: 'limit' }] },
      )
  })
})

describe('availability', () => {
  const available = async (idOrHandle: string) => (await find(idOrHandle)).variants.map((v) => v.available)

  test('follows the stock events, in the product and in lists', async () => {
    const { id: categoryId } = await category(ulid())
    const {
      id,
      variants: [one, other],
    } = await upsert({ categoryId })
    expect(await available(id)).toEqual([0, 0])
    await stockEvent([{ sku: one!.sku, available: 5, version: 1 }])
    await stockEvent([
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
    for (const version of [1, 3, 2, 1, 3]) expect(await stockEvent(level(version))).toBe(success)
    expect((await available(id))[0]).toBe(30)
    await Promise.all([5, 4, 6, 4, 5].map((v) => stockEvent(level(v))))
    expect((await available(id))[0]).toBe(60)
  })

  test('is kept when the product is written again', async () => {
    const first = await upsert()
    await stockEvent([{ sku: first.variants[0]!.sku, available: 5, version: 1 }])
    const { product: again } = await replace({ ...inputOf(first), title: 'Pot' })
    expect(again).toMatchObject({ available: 5, variants: [{ available: 5 }, { available: 0 }] })
  })

  test('that comes before the product is there once it is created, and goes with the SKU', async () => {
    const sent = product()
    const [one, other] = sent.variants as [VariantInput, VariantInput]
    for (const version of [2, 1]) await stockEvent([{ sku: one.sku, available: version, version }])
    const { product: made } = await replace(sent)
    expect(await available(made.id)).toEqual([2, 0])
    // The next product that has the SKU takes over what is in stock.
    await replace({ ...sent, variants: [other] })
    expect(await available((await upsert({ variants: [variant(one.sku)] })).id)).toEqual([2])
    await stockEvent([{ sku: other.sku, available: 9, version: 1 }])
    await catalog.deleteProduct({ idOrHandle: made.id, ifMatch: '', ...admin })
    await stockEvent([{ sku: other.sku, available: 8, version: 2 }])
    expect(await available((await replace({ ...sent, variants: [other] })).product.id)).toEqual([8])
  })

  test('is not lost when products and stock change at the same time', async () => {
    const sent = product({ variants: Array.from({ length: 8 }, (_, i) => variant(`${ulid()}-${i}`)) })
    const skus = sent.variants.map((v) => v.sku)
    const work = skus.flatMap((sku, i) => [
      ...[1, 2, 3].map((version) => stockEvent([{ sku, available: version * 10, version }])),
      i % 2 === 0 ? replace(sent) : change(sent.handle, { title: `T${i}` }).catch(() => {}),
    ])
    await Promise.all(work)
    const { id } = (await replace({ ...sent, title: 'Last' })).product
    expect(await available(id)).toEqual(skus.map(() => 30))
  })

  test('is published with the whole product, on a topic of its own', async () => {
    const { id, variants } = await upsert()
    await stockEvent([
      { sku: variants[0]!.sku, available: 3, version: 1, ordered: 2 },
      { sku: variants[1]!.sku, available: 4, version: 1, ordered: 5 },
    ])
    const [event] = await availability.eventsOf(id, 1)
    expect(event).toMatchObject({
      type: 'products.products-changed.v1',
      data: {
        products: [
          {
            productId: id,
            handle: expect.any(String),
            title: 'Clay pot',
            variants: [{ available: 3 }, { available: 4 }],
            available: 7,
            popularity: 7,
          },
        ],
      },
    })
    const [upserted] = await published.eventsOf(id, 1)
    const [product] = (event!.data as { products: { version: number }[] }).products
    expect(product!.version).toBeGreaterThan((upserted!.data as { version: number }).version)
  })

  test('ignores an unknown event type; an event that can never be handled is dropped', async () => {
    expect(await stockEvent([], 'stock.something-new.v9')).toBe(success)
    expect(await stockEvent('nonsense' as never)).toBe(drop)
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
  expect(await stockEvent([{ sku: one!.sku, available: 5, version: 1 }])).toBe(retry)
  expect(Date.now() - asked).toBeLessThan(9_000)
  await store.start()
  await vi.waitFor(
    () => stockEvent([{ sku: one!.sku, available: 5, version: 1 }]).then((s) => expect(s).toBe(success)),
    { timeout: 20_000, interval: 100 },
  )
  expect((await find(id)).variants[0]!.available).toBe(5)
})
