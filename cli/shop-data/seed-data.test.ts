import { expect, test } from 'vitest'
import { random } from '../../platform/random.ts'
import { categoryPaths, popularProducts, seedProduct, seedUser } from './seed-data.ts'

const first = Array.from({ length: 5_000 }, (_, i) => seedProduct(7, i))

test('the same seed creates the same shop, another seed a different one', () => {
  expect(Array.from({ length: 500 }, (_, i) => seedProduct(7, i))).toEqual(first.slice(0, 500))
  expect(seedProduct(8, 0).handle).not.toBe(first[0]!.handle)
  expect(seedUser(7, 3)).toEqual(seedUser(7, 3))
})

test('handles and SKUs are unique, prices are whole and positive, categories exist', () => {
  const skus = first.flatMap((p) => p.variants.map((v) => v.sku))
  expect(new Set(skus).size).toBe(skus.length)
  expect(new Set(first.map((p) => p.handle)).size).toBe(first.length)
  for (const { price, sku } of first.flatMap((p) => p.variants)) {
    expect(Number.isInteger(price.amount) && price.amount > 0).toBe(true)
    expect(sku.length).toBeLessThanOrEqual(100)
  }
  for (const { handle } of first) expect(handle).toMatch(/^[a-z0-9]+(-[a-z0-9]+)*$/)
  const known = new Set(categoryPaths.map((path) => path.join(' > ')))
  expect(known.size).toBe(categoryPaths.length)
  expect(first.every((p) => known.has(p.category.join(' > ')))).toBe(true)
})

test('it has some 3,000 categories of very different sizes', () => {
  expect(categoryPaths.length).toBeGreaterThan(2_900)
  expect(categoryPaths.length).toBeLessThan(3_100)
  const sizes = [...Map.groupBy(first, ({ category }) => category.join()).values()].map((of) => of.length)
  expect(Math.max(...sizes)).toBeGreaterThan(15)
  expect(sizes.filter((size) => size === 1).length).toBeGreaterThan(500)
})

test('products have 5 to 30 attributes by their kind, in English and Korean words', () => {
  const counts = first.map(({ attributes }) => Object.keys(attributes).length)
  expect(Math.min(...counts)).toBeGreaterThanOrEqual(5)
  expect(Math.max(...counts)).toBeLessThanOrEqual(31)
  expect(Math.max(...counts)).toBeGreaterThan(25)
  const namesOf = (kind: string) =>
    new Set(first.filter((p) => p.category[1] === kind).map((p) => Object.keys(p.attributes).join()))
  expect(namesOf('Keyboards').size).toBe(1)
  const korean = first.filter(({ title }) => /[가-힣]/.test(title)).length / first.length
  expect(korean).toBeGreaterThan(0.25)
  expect(korean).toBeLessThan(0.4)
})

test('titles, numbers of variants and stock vary', () => {
  expect(new Set(first.map((p) => p.title)).size).toBeGreaterThan(4_900)
  const variants = first.map((p) => p.variants.length)
  expect(new Set(variants).size).toBeGreaterThan(6)
  const average = variants.reduce((sum, n) => sum + n, 0) / variants.length
  expect(average).toBeGreaterThan(1.5)
  expect(average).toBeLessThan(4)
  const quantities = first.flatMap((p) => p.variants.map((v) => v.stock))
  expect(quantities.filter((n) => n === 0).length / quantities.length).toBeGreaterThan(0.01)
})

test('a few products are wanted by many, and each can be', () => {
  const next = random(1)
  const choose = popularProducts(1, 1_000)
  const chosen = Array.from({ length: 50_000 }, () => choose(next()))
  const counts = [...Map.groupBy(chosen, (i) => i).values()].map((of) => of.length).toSorted((a, b) => b - a)
  expect(counts.length).toBeGreaterThan(950)
  expect(counts.slice(0, 10).reduce((sum, n) => sum + n, 0) / chosen.length).toBeGreaterThan(0.3)
  expect(Math.max(...chosen)).toBeLessThan(1_000)
})
