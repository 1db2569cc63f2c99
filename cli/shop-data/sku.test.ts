import { expect, test } from 'vitest'
import { deriveSkus, slug } from './sku.ts'

test('names become slugs', () => {
  expect(['Größe XL', 'Crème brûlée', '  a -- b ', '大'].map(slug)).toEqual(['grosse-xl', 'creme-brulee', 'a-b', ''])
})

test('a SKU is the handle and the option values', () => {
  expect(deriveSkus('clay-plant-pot', [{ values: ['Regular'] }, { values: ['Large'] }])).toEqual([
    'clay-plant-pot-regular',
    'clay-plant-pot-large',
  ])
  expect(deriveSkus('copper-light', [{ values: [] }])).toEqual(['copper-light'])
})

test('values with the same slug get different SKUs, the same in any order', () => {
  const [a, b] = deriveSkus('x', [{ values: ['A+B'] }, { values: ['A B'] }])
  expect(a).not.toBe(b)
  expect(deriveSkus('x', [{ values: ['A B'] }, { values: ['A+B'] }])).toEqual([b, a])
})

test('values without Latin letters, and very long ones, get SKUs within the limit', () => {
  const skus = deriveSkus('x', [{ values: ['大'] }, { values: ['小'] }, { values: ['y'.repeat(300)] }])
  expect(new Set(skus).size).toBe(3)
  expect(skus.every((sku) => sku.length <= 100)).toBe(true)
})
