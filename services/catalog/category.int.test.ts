import { createConnection } from 'mysql2/promise'
import { ulid } from 'ulid'
import { afterAll, describe, expect, test } from 'vitest'
import { CatalogServiceService, type Category } from '#protos/shop/catalog/v1/catalog.ts'
import { poll } from '../../platform/poll.ts'
import { watchTopic } from '../../platform/testing/events.ts'
import { startService } from '../../platform/testing/service.ts'
import { rangeQuery } from './category-store.ts'

const service = await startService('catalog', { events: true })
const published = await watchTopic(service.topic('categories'))
const products = await watchTopic(service.topic('products'))
afterAll(() => Promise.all([service.close(), published.close(), products.close()]))
/** What the events of a topic say. */
const dataOf = (topic: { events: Record<string, unknown>[] }) =>
  topic.events.map(({ type, data }) => ({ type, ...(data as Record<string, unknown>) }) as Record<string, unknown>)
const catalog = service.client(CatalogServiceService)

const code = (code: string) => expect.objectContaining({ code })
const category = async (...names: string[]) => (await catalog.ensureCategory({ names })).category!
const get = (categoryId: string) => catalog.getCategory({ categoryId })
const change = async (categoryId: string, to: { name?: string; parentId?: string }) =>
  (await catalog.changeCategory({ categoryId, name: undefined, parentId: undefined, ...to })).category!

async function everyPage(parentId: string, { limit = 1_000, descendants = true } = {}): Promise<Category[]> {
  const found: Category[] = []
  for (let cursor = ''; ;) {
    const page = await catalog.listCategories({ parentId, limit, cursor, descendants })
    expect(page.categories.length).toBeLessThanOrEqual(limit)
    found.push(...page.categories)
    cursor = page.nextCursor
    if (cursor === '') return found
  }
}
const names = (categories: Category[]) => categories.map(({ name }) => name)
const place = ({ id, name, parentId, path }: Category) => ({ id, name, parentId, path })

async function product(categoryId: string, published = true): Promise<string> {
  const handle = `p-${ulid().toLowerCase()}`
  const { written } = await catalog.replaceProduct({
    ifMatch: '',
    userId: 'u-admin',
    isAdmin: true,
    product: {
      handle,
      title: 'Pot',
      description: '',
      vendor: '',
      categoryId,
      images: [],
      attributes: {},
      variants: [{ sku: handle, options: {}, price: { amount: 1, currency: 'USD' } }],
      published,
    },
  })
  return (JSON.parse(Buffer.from(written!.product!.json).toString()) as { id: string }).id
}

describe('the tree', () => {
  test('is created along a path of names, once, however many do it at once', async () => {
    const top = ulid()
    const made = await Promise.all(
      Array.from({ length: 30 }, (_, i) => category(top, `Branch ${i % 3}`, `Leaf ${i % 6}`)),
    )
    expect(new Set(made.map(({ id }) => id)).size).toBe(6)
    const [root] = made[0]!.path.split('/')
    expect(names(await everyPage(root!)).toSorted()).toEqual(
      ['Branch 0', 'Branch 1', 'Branch 2', 'Leaf 0', 'Leaf 1', 'Leaf 2', 'Leaf 3', 'Leaf 4', 'Leaf 5'].toSorted(),
    )
    const { category: leaf, ancestors, children } = await get(made[0]!.id)
    expect(leaf).toMatchObject(place(made[0]!))
    expect(names(ancestors)).toEqual([top, 'Branch 0'])
    expect(children).toEqual([])
  })

  test('is paged: children by name, whole subtrees with parents before their children', async () => {
    const top = ulid()
    for (const name of ['desks', 'Bowls', '나무', 'chairs', '가구', 'Äpfel']) await category(top, name, 'below')
    const root = await category(top)
    for (const limit of [1, 2, 6, 100]) {
      const children = await everyPage(root.id, { limit, descendants: false })
      expect(names(children)).toEqual(['Bowls', 'chairs', 'desks', 'Äpfel', '가구', '나무'])
      const subtree = await everyPage(root.id, { limit })
      expect(subtree).toHaveLength(12)
      const seen = new Set([root.id])
      for (const { id, parentId } of subtree) {
        expect(seen).toContain(parentId)
        seen.add(id)
      }
    }
    expect(names(await everyPage('', { descendants: false }))).toContain(top)
    for (const cursor of ['x', 'YQ', Buffer.from('c-aaaaaaaaaa/').toString('base64url')])
      await expect(catalog.listCategories({ parentId: '', limit: 1, cursor, descendants: false })).rejects.toEqual(
        code('bad_cursor'),
      )
  })

  test('is read by ranges of the primary key, never as a whole', async () => {
    const root = await category(ulid())
    await Promise.all(Array.from({ length: 300 }, (_, i) => category(ulid(), `x ${i}`)))
    const connection = await createConnection({ uri: process.env['TEST_MYSQL_URL'] ?? '', database: service.database })
    try {
      await connection.query('ANALYZE TABLE state')
      for (const prefix of [`path:{tree}:${root.path}`, `child:{tree}:${root.id}:`]) {
        const key = `catalog||${prefix}`
        const [plan] = (await connection.query(`EXPLAIN ${rangeQuery}`, [`${key}%`, key, 1_001])) as unknown as [
          { type: string; key: string; rows: number | string; Extra: string }[],
        ]
        expect(plan).toMatchObject([{ type: 'range', key: 'PRIMARY' }])
        expect(Number(plan[0]!.rows)).toBeLessThan(10)
        expect(plan[0]!.Extra).not.toContain('filesort')
      }
    } finally {
      await connection.end()
    }
  })

  test('a category keeps its id when its name changes, and another may have the old one', async () => {
    const top = ulid()
    const [pots, leaf] = [await category(top, 'Pots'), await category(top, 'Pots', 'Leaf')]
    const renamed = await change(pots.id, { name: '  Planters ' })
    expect(renamed).toMatchObject({ id: pots.id, name: 'Planters', path: pots.path })
    expect(await category(top, 'Planters')).toMatchObject(place(renamed))
    expect((await get(leaf.id)).ancestors.map(({ name }) => name)).toEqual([top, 'Planters'])
    const again = await category(top, 'Pots')
    expect(again.id).not.toBe(pots.id)
    await expect(change(again.id, { name: 'Planters' })).rejects.toEqual(code('category_exists'))
    // To the name that it has: nothing.
    expect(place(await change(again.id, { name: 'Pots' }))).toEqual(place(again))
    const event = await poll('the event', () =>
      dataOf(published).find((data) => data['categoryId'] === pots.id && data['name'] === 'Planters'),
    )
    expect(event).toMatchObject({
      type: 'categories.category-changed.v1',
      parentId: pots.parentId,
      path: pots.path,
      formerPath: pots.path,
    })
  })

  test('a subtree moves as a whole, with one event', async () => {
    const [from, to] = [ulid(), ulid()]
    const [garden, pots] = [await category(from, 'Garden'), await category(from, 'Garden', 'Pots')]
    const big = await category(from, 'Garden', 'Pots', 'Big')
    const target = await category(to)
    const before = published.events.length
    const moved = await change(garden.id, { parentId: target.id })
    expect(moved.path).toBe(`${target.id}/${garden.id}/`)
    expect((await get(big.id)).category!.path).toBe(`${target.id}/${garden.id}/${pots.id}/${big.id}/`)
    expect(names((await get(big.id)).ancestors)).toEqual([to, 'Garden', 'Pots'])
    expect(names(await everyPage(target.id))).toEqual(['Garden', 'Pots', 'Big'])
    expect(await everyPage(garden.parentId)).toEqual([])
    const event = await poll('the event', () =>
      dataOf(published)
        .slice(before)
        .find((data) => data['categoryId'] === garden.id && data['formerPath'] !== null),
    )
    expect(event).toMatchObject({ path: moved.path, formerPath: garden.path })
    expect(
      dataOf(published)
        .slice(before)
        .filter((data) => data['categoryId'] === pots.id && data['formerPath'] !== null),
    ).toEqual([])
    for (const parentId of [garden.id, big.id])
      await expect(change(garden.id, { parentId })).rejects.toEqual(code('category_cycle'))
    await expect(change(garden.id, { parentId: 'c-aaaaaaaaaa' })).rejects.toEqual(code('invalid_field'))
    expect((await change(garden.id, { parentId: '' })).path).toBe(`${garden.id}/`)
  })

  test('moves and creations at the same time leave one tree', async () => {
    const [a, b] = [await category(ulid()), await category(ulid())]
    const branch = await category(a.name, 'Branch')
    await Promise.all([
      ...Array.from({ length: 20 }, (_, i) => category(a.name, 'Branch', `Leaf ${i}`).catch(() => {})),
      ...[b, a, b].map(({ id }) => change(branch.id, { parentId: id }).catch(() => {})),
    ])
    const all = await everyPage('')
    const byId = new Map(all.map((each) => [each.id, each]))
    expect(byId.size).toBe(all.length)
    for (const { id, parentId, path } of all) {
      expect(path).toBe(`${byId.get(parentId)?.path ?? ''}${id}/`)
      expect((await get(id)).category!.path).toBe(path)
    }
    for (const { id } of [a, b, branch])
      expect((await everyPage(id, { descendants: false })).map(({ parentId }) => parentId)).toEqual(
        all.filter(({ parentId }) => parentId === id).map(() => id),
      )
  })

  test('2,000 categories move in one transaction', async () => {
    const [root, target] = [await category(ulid()), await category(ulid())]
    for (let at = 0; at < 2_000; at += 200)
      await Promise.all(Array.from({ length: 200 }, (_, i) => category(root.name, `Leaf ${at + i}`)))
    await change(root.id, { parentId: target.id })
    expect(await everyPage(target.id)).toHaveLength(2_001)
  })
})

test('the products of a moved subtree follow it, archived ones too, each with its event', async () => {
  const [from, to] = [await category(ulid()), await category(ulid())]
  const branch = await category(from.name, 'Branch')
  const leaf = await category(from.name, 'Branch', 'Leaf')
  const shown = await Promise.all([...Array(5).fill(branch.id), ...Array(250).fill(leaf.id)].map((id) => product(id)))
  const hidden = await product(leaf.id, false)
  await change(branch.id, { parentId: to.id })
  const listed = async (categoryId: string) => {
    const ids: string[] = []
    for (let cursor = ''; ;) {
      const page = await catalog.listProducts({ categoryId, limit: 100, cursor, after: undefined })
      ids.push(...page.products.map((json) => (JSON.parse(Buffer.from(json).toString()) as { id: string }).id))
      cursor = page.nextCursor
      if (cursor === '') return ids.toSorted()
    }
  }
  await poll('they are in the lists of their new ancestor', async () => (await listed(to.id)).length === shown.length)
  expect(await listed(to.id)).toEqual(shown.toSorted())
  expect(await listed(from.id)).toEqual([])
  const categoryIds = [to.id, branch.id, leaf.id]
  await poll('the event of the archived one', () =>
    dataOf(products).some(
      (data) => data['productId'] === hidden && JSON.stringify(data['categoryIds']) === JSON.stringify(categoryIds),
    ),
  )
})

test('each category has the number of published products of it and all below', async () => {
  const top = await category(ulid())
  const leaf = await category(top.name, 'Leaf')
  await Promise.all([product(top.id), product(leaf.id), product(leaf.id), product(leaf.id, false)])
  const counted = await poll('it is counted', async () => {
    const { category, children } = await get(top.id)
    return category!.products !== undefined && children[0]!.products !== undefined && { category, children }
  })
  expect([counted.category!.products, counted.children[0]!.products]).toEqual([3, 2])
})
