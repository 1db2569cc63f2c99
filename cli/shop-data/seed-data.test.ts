import { expect, test } from 'vitest'
import { categoryPaths, seedProduct, seedUser } from './seed-data.ts'

const first = Array.from({ length: 500 }, (_, i) => seedProduct(7, i))

test('the same seed creates the same shop, another seed a different one', () => {
  expect(Array.from({ length: 500 }, (_, i) => seedProduct(7, i))).toEqual(first)
  expect(seedProduct(8, 0).handle).not.toBe(first[0]!.handle)
  expect(seedUser(7, 3)).toEqual(seedUser(7, 3))
})

test('handles and SKUs are unique, prices are whole and positive, categories exist', () => {
  const skus = first.flatMap((p) => p.variants.map((v) => v.sku))
  expect(new Set(skus).size).toBe(skus.length)
  expect(new Set(first.map((p) => p.handle)).size).toBe(first.length)
  expect(
    first.flatMap((p) => p.variants).every(({ price }) => Number.isInteger(price.amount) && price.amount > 0),
  ).toBe(true)
  const known = new Set(categoryPaths.map((path) => path.join(' > ')))
  expect(first.every((p) => known.has(p.category.join(' > ')))).toBe(true)
})

test('titles, numbers of variants and stock vary', () => {
  expect(new Set(first.map((p) => p.title)).size).toBeGreaterThan(300)
  expect(new Set(first.map((p) => p.variants.length)).size).toBeGreaterThan(4)
  const quantities = first.flatMap((p) => p.stock.map((s) => s.quantity))
  expect(quantities.filter((n) => n === 0).length / quantities.length).toBeGreaterThan(0.01)
})
