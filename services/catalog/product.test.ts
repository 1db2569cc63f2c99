import { describe, expect, test } from 'vitest'
import {
  applyLevels,
  changeProduct,
  etagOf,
  isProductId,
  listsOf,
  matches,
  moveProduct,
  newestKey,
  nextVersion,
  noLevel,
  productIdOf,
  replaceProduct,
  type Decision,
  type ProductContent,
  type StoredProduct,
  type Variant,
} from './product.ts'

const pot: ProductContent = {
  handle: 'clay-pot',
  title: 'Clay pot',
  description: '<p>For plants</p>',
  vendor: 'Company 123',
  categoryId: '',
  images: ['https://example.com/pot.jpg'],
  attributes: { material: 'clay' },
  variants: [
    { sku: 'POT-R', options: [{ name: 'Size', value: 'Regular' }], price: { amount: 999, currency: 'USD' } },
    { sku: 'POT-L', options: [{ name: 'Size', value: 'Large' }], price: { amount: 1599, currency: 'USD' } },
  ],
  published: true,
}
const then = new Date('2026-01-01T00:00:00Z')
const later = new Date('2026-01-02T00:00:00Z')
const changed = (decision: Decision) => {
  if (decision.outcome !== 'changed') throw new Error(`expected a change, not ${decision.outcome}`)
  return decision.product
}

const replace = (before: StoredProduct | undefined, content: ProductContent, categoryIds: string[], now: Date) =>
  replaceProduct(before, content, { categoryIds, levelOf: () => noLevel, now, sellerId: 'u-seller' })
const stored = changed(replace(undefined, pot, ['c-a', 'c-b'], then))

describe('replaceProduct', () => {
  test('a published product is listed everywhere, in its category and in all above; another in none of these', () => {
    expect(stored).toMatchObject({ id: productIdOf('clay-pot'), updatedAt: then.toISOString() })
    expect(listsOf(stored)).toEqual(['all', 'c-a', 'c-b'])
    expect(isProductId(stored.id)).toBe(true)
    const hidden = changed(replace(stored, { ...pot, published: false }, ['c-a'], later))
    expect(listsOf(hidden)).toEqual(['hidden:all', 'hidden:c-a'])
  })

  test('the same again changes nothing, in whatever order options and attributes come', () => {
    const [a, b] = [
      { name: 'A', value: '1' },
      { name: 'B', value: '2' },
    ]
    const withOptions = (...options: Variant['options']) => [{ ...pot.variants[0]!, options }]
    const content = { ...pot, attributes: { a: 1, b: -0 }, variants: withOptions(a!, b!) }
    const first = changed(replace(undefined, content, [], then))
    const again = { ...pot, attributes: { b: 0, a: 1 }, variants: withOptions(b!, a!) }
    expect(replace(first, again, [], later)).toEqual({ outcome: 'unchanged' })
  })

  test('a change is dated, and keeps when it was created and what is in stock', () => {
    const level = { available: 3, ordered: 1, version: 7 }
    const stocked = changed(applyLevels(stored, new Map([['POT-L', level]]), then))
    const [large] = [pot.variants[1]!]
    expect(changed(replace(stocked, { ...pot, title: 'Pot', variants: [large] }, ['c-c'], later))).toMatchObject({
      title: 'Pot',
      categoryIds: ['c-c'],
      createdAt: then.toISOString(),
      updatedAt: later.toISOString(),
      variants: [{ sku: 'POT-L', level }],
    })
  })
})

describe('changeProduct', () => {
  const change = (by: Parameters<typeof changeProduct>[1]) =>
    changeProduct(stored, by, { categoryIds: undefined, now: later })

  test('changes what is named, and nothing else', () => {
    const { variants, ...rest } = changed(
      change({ variants: [{ sku: 'POT-L', price: { amount: 1, currency: 'USD' } }] }),
    )
    expect(variants.map((v) => v.price.amount)).toEqual([999, 1])
    expect(variants.map((v) => v.options)).toEqual(pot.variants.map((v) => v.options))
    expect(rest).toMatchObject({ title: 'Clay pot', categoryIds: ['c-a', 'c-b'], createdAt: then.toISOString() })
    expect(change({ title: 'Clay pot', variants: [{ sku: 'POT-L' }] })).toEqual({ outcome: 'unchanged' })
  })

  test('refuses an unknown SKU, and options that another variant has', () => {
    expect(() => change({ variants: [{ sku: 'POT-R' }, { sku: 'NONE' }] })).toThrow(
      expect.objectContaining({
        code: 'sku_not_found',
        fields: [expect.objectContaining({ field: 'variants.1.sku' })],
      }),
    )
    const options = [{ name: 'Size', value: 'Regular' }]
    expect(() => change({ variants: [{ sku: 'POT-L', options }] })).toThrow(
      expect.objectContaining({
        kind: 'invalid',
        fields: [expect.objectContaining({ field: 'variants.0.options' })],
      }),
    )
  })
})

describe('a version', () => {
  test('grows with every change, by at least one, also when the clock goes back', () => {
    expect(nextVersion(undefined, then)).toBe(then.getTime())
    expect(nextVersion(then.getTime(), then)).toBe(then.getTime() + 1)
    expect(nextVersion(later.getTime(), then)).toBe(later.getTime() + 1)
  })

  test('of the content is what If-Match goes by', () => {
    const level = { available: 3, ordered: 1, version: 7 }
    const stocked = changed(applyLevels(stored, new Map([['POT-L', level]]), later))
    expect(etagOf(stocked)).not.toBe(etagOf(stored))
    for (const good of ['', '*', etagOf(stored), etagOf(stocked), `W/${etagOf(stored)}`, `"x", ${etagOf(stored)}`])
      expect(matches(good, stocked)).toBe(true)
    for (const bad of ['x', '"1.1"', etagOf(changed(replace(stored, { ...pot, title: 'x' }, [], later)))])
      expect(matches(bad, stocked)).toBe(false)
    for (const any of ['*', etagOf(stored)]) expect(matches(any, undefined)).toBe(false)
  })
})

test('levels that are not newer change nothing', () => {
  const level = (version: number) => new Map([['POT-R', { available: version, ordered: 0, version }]])
  const first = changed(applyLevels(stored, level(5), later))
  for (const version of [4, 5]) expect(applyLevels(first, level(version), later)).toEqual({ outcome: 'unchanged' })
  expect(changed(applyLevels(first, level(6), later)).updatedAt).toBe(then.toISOString())
})

test('a move of its category is a new version of the product with the same content', () => {
  expect(moveProduct(stored, ['c-a', 'c-b'], later)).toEqual({ outcome: 'unchanged' })
  const moved = changed(moveProduct(stored, ['c-x', 'c-b'], later))
  expect(moved).toMatchObject({ categoryIds: ['c-x', 'c-b'], version: later.getTime(), edition: then.getTime() })
})

test('the newest product sorts first, and no two are equal', () => {
  const at = (createdAt: Date, id: string) => newestKey({ createdAt: createdAt.toISOString(), id })
  const keys = [at(later, 'p-b'), at(then, 'p-a'), at(then, 'p-c'), at(new Date(0), 'p-a')]
  expect(keys.toSorted()).toEqual(keys)
})
