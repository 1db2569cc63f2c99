import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  below,
  idsOfPath,
  isCategoryId,
  maxDepth,
  moveCategory,
  nameKey,
  newCategoryId,
  parseNames,
  type Category,
} from './category.ts'
import { afterPage } from './category-moves.ts'

const chain = (...names: string[]): Category[] =>
  names.reduce<Category[]>((sofar, name, i) => {
    const id = newCategoryId(names.slice(0, i + 1))
    return [...sofar, below(sofar.at(-1), { id, name })]
  }, [])

test('a path of names becomes a path of ids', () => {
  const [top, leaf] = chain(...parseNames([' Home ', 'Garden']))
  expect(top).toMatchObject({ name: 'Home', parentId: '', path: `${top!.id}/` })
  expect(leaf).toMatchObject({ name: 'Garden', parentId: top!.id, path: `${top!.id}/${leaf!.id}/` })
  expect(idsOfPath(leaf!.path)).toEqual([top!.id, leaf!.id])
})

test('ids depend on all names above and on nothing else', () => {
  const name = fc.string({ minLength: 1, maxLength: 40 }).filter((s) => s.trim() !== '')
  fc.assert(
    fc.property(fc.array(name, { minLength: 1, maxLength: 10 }), (names) => {
      const ids = chain(...names).map((c) => c.id)
      expect(ids.every(isCategoryId)).toBe(true)
      expect(new Set(ids).size).toBe(ids.length)
    }),
  )
  expect(newCategoryId(['a', 'b'])).not.toBe(newCategoryId(['c', 'b']))
  expect(newCategoryId(['a'], 1)).not.toBe(newCategoryId(['a']))
})

test.each([
  [[], /^names:/],
  [Array(11).fill('x'), /^names:/],
  [['a', ' '], /names\.1:/],
  [['x'.repeat(101)], /names\.0:/],
  [['a\0b'], /names\.0:/],
  [['\ud800'], /names\.0:/],
])('%j is refused', (names, message) => {
  expect(() => parseNames(names)).toThrow(message)
})

test('a move takes everything below along, and only changes what is above', () => {
  const [home, garden, pots] = chain('Home', 'Garden', 'Pots') as [Category, Category, Category]
  const [sale] = chain('Sale') as [Category]
  const { categories } = moveCategory(garden, [pots], { name: 'Plants', parent: sale }) as { categories: Category[] }
  expect(categories).toEqual([
    { id: garden.id, name: 'Plants', parentId: sale.id, path: `${sale.id}/${garden.id}/` },
    { ...pots, path: `${sale.id}/${garden.id}/${pots.id}/` },
  ])
  expect(moveCategory(garden, [pots], { name: 'Garden', parent: undefined })).toMatchObject({
    categories: [{ parentId: '', path: `${garden.id}/` }, { path: `${garden.id}/${pots.id}/` }],
  })
  for (const parent of [garden, pots])
    expect(moveCategory(garden, [pots], { name: 'Garden', parent })).toMatchObject({ reason: 'cycle' })
  const deep = chain(...Array.from({ length: maxDepth - 1 }, (_, i) => `level ${i}`)).at(-1)!
  expect(moveCategory(garden, [pots], { name: 'Garden', parent: deep })).toMatchObject({ reason: 'too_deep' })
  expect(moveCategory(home, [], { name: 'Home', parent: deep })).toMatchObject({ outcome: 'moved' })
})

test('children sort by name, and no two names have one key', () => {
  const names = ['Äpfel', 'bowls', 'Bowls', 'chairs', 'desks', '가구', '나무']
  const sorted = names.toSorted((a, b) => (nameKey(a) < nameKey(b) ? -1 : 1)).map((name) => name.toLowerCase())
  expect(sorted).toEqual(['bowls', 'bowls', 'chairs', 'desks', 'äpfel', '가구', '나무'])
  expect(new Set(names.map(nameKey)).size).toBe(names.length)
  expect(nameKey('x'.repeat(99))).not.toBe(nameKey('x'.repeat(100)))
  // With its parent's id and Dapr's prefix it is far from the store's limit.
  expect(nameKey('가'.repeat(100)).length).toBeLessThan(200)
})

test('a move reads the shown and the hidden products, and both once more', () => {
  const first = { categoryId: 'c-1', list: 'c-1', after: null, pass: 1, at: 0 }
  const second = afterPage(first, 'key', 1)!
  expect(second).toEqual({ ...first, after: 'key' })
  const hidden = afterPage(second, undefined, 1)!
  expect(hidden).toEqual({ ...first, list: 'hidden:c-1' })
  const again = afterPage(hidden, undefined, 1)!
  expect(again).toMatchObject({ list: 'c-1', after: null, pass: 2 })
  expect(again.at).toBeGreaterThan(10_000)
  expect(afterPage({ ...again, list: 'hidden:c-1' }, undefined, 1)).toBe(undefined)
})
