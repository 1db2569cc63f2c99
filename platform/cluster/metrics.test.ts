import { expect, it } from 'vitest'
import { parseQuantity } from './metrics.ts'

it('quantities of memory are bytes', () => {
  expect(parseQuantity('12Mi')).toBe(12 * 1024 * 1024)
  expect(parseQuantity('18432Ki')).toBe(18 * 1024 * 1024)
  expect(parseQuantity('5')).toBe(5)
  expect(parseQuantity('3M')).toBe(3_000_000)
  expect(() => parseQuantity('3m')).toThrow('3m')
})
