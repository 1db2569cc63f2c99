import fc from 'fast-check'
import { expect, test } from 'vitest'
import { categoriesOf, idsOfPath, isCategoryId } from './category.ts'

test('a path of names becomes a path of ids', () => {
  const [top, below] = categoriesOf([' Home ', 'Garden'])
  expect(top).toMatchObject({ name: 'Home', parentId: '', path: `${top!.id}/` })
  expect(below).toMatchObject({ name: 'Garden', parentId: top!.id, path: `${top!.id}/${below!.id}/` })
  expect(idsOfPath(below!.path)).toEqual([top!.id, below!.id])
})

test('ids depend on all names above and on nothing else', () => {
  const name = fc.string({ minLength: 1, maxLength: 40 }).filter((s) => s.trim() !== '')
  fc.assert(
    fc.property(fc.array(name, { minLength: 1, maxLength: 10 }), (names) => {
      const ids = categoriesOf(names).map((c) => c.id)
      expect(ids.every(isCategoryId)).toBe(true)
      expect(new Set(ids).size).toBe(ids.length)
      expect(categoriesOf(names).map((c) => c.id)).toEqual(ids)
    }),
  )
  expect(categoriesOf(['a', 'b'])[1]!.id).not.toBe(categoriesOf(['c', 'b'])[1]!.id)
})

test.each([
  [[], /^names:/],
  [Array(11).fill('x'), /^names:/],
  [['a', ' '], /names\.1:/],
  [['x'.repeat(101)], /names\.0:/],
  [['a\0b'], /names\.0:/],
  [['\ud800'], /names\.0:/],
])('%j is refused', (names, message) => {
  expect(() => categoriesOf(names)).toThrow(message)
})
