import { expect, test } from 'vitest'
import { groupsOf } from './groups.ts'

const sizeOf = (each: number) => each

test('groups keep the order, and neither their sizes nor their counts are too large', () => {
  expect(groupsOf([1, 2, 3, 4, 1], { sizeOf, size: 6 })).toEqual([
    [1, 2, 3],
    [4, 1],
  ])
  expect(groupsOf([1, 1, 1, 1, 1], { sizeOf, size: 6, count: 2 })).toEqual([[1, 1], [1, 1], [1]])
  expect(groupsOf([], { sizeOf, size: 6 })).toEqual([])
})

test('what is too large for every group has one of its own', () => {
  expect(groupsOf([1, 9, 1], { sizeOf, size: 6 })).toEqual([[1], [9], [1]])
})
