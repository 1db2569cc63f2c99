import { describe, expect, test } from 'vitest'
import {
  changePrice,
  isProductId,
  productIdOf,
  replaceProduct,
  type Decision,
  type ProductContent,
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

describe('replaceProduct', () => {
  const stored = changed(replaceProduct(undefined, pot, ['c-a', 'c-b'], then))

  test('a published product is listed everywhere, in its category and in all above', () => {
    expect(stored).toMatchObject({
      id: productIdOf('clay-pot'),
      listedIn: ['all', 'c-a', 'c-b'],
      updatedAt: then.toISOString(),
    })
    expect(isProductId(stored.id)).toBe(true)
  })

  test('an unpublished product is listed nowhere', () => {
    expect(changed(replaceProduct(stored, { ...pot, published: false }, ['c-a'], later)).listedIn).toEqual([])
  })

  test('the same again changes nothing, in whatever order options and attributes come', () => {
    const [a, b] = [
      { name: 'A', value: '1' },
      { name: 'B', value: '2' },
    ]
    const withOptions = (...options: Variant['options']) => [{ ...pot.variants[0]!, options }]
    const content = { ...pot, attributes: { a: 1, b: -0 }, variants: withOptions(a!, b!) }
    const first = changed(replaceProduct(undefined, content, [], then))
    const again = { ...pot, attributes: { b: 0, a: 1 }, variants: withOptions(b!, a!) }
    expect(replaceProduct(first, again, [], later)).toEqual({ outcome: 'unchanged' })
  })

  test('a change is dated', () => {
    expect(changed(replaceProduct(stored, { ...pot, title: 'Pot' }, ['c-a', 'c-b'], later))).toMatchObject({
      title: 'Pot',
      updatedAt: later.toISOString(),
    })
    expect(changed(replaceProduct(stored, pot, ['c-c'], later))).toMatchObject({ listedIn: ['all', 'c-c'] })
  })
})

test('a price is changed in one variant, and not if it is the same', () => {
  const stored = changed(replaceProduct(undefined, pot, [], then))
  const { variants } = changed(changePrice(stored, 'POT-L', { amount: 1, currency: 'USD' }, later))
  expect(variants.map((v) => v.price.amount)).toEqual([999, 1])
  expect(changePrice(stored, 'POT-L', { amount: 1599, currency: 'USD' }, later)).toEqual({ outcome: 'unchanged' })
  expect(changePrice(stored, 'NONE', { amount: 1, currency: 'USD' }, later)).toEqual({ outcome: 'unchanged' })
})
