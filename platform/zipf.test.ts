import { expect, test } from 'vitest'
import { random } from './random.ts'
import { zipf } from './zipf.ts'

test.each([0.7, 1, 1.2])('places are chosen in proportion to 1 / place ^ %s', (exponent) => {
  const count = 1_000
  const next = random(1)
  const place = zipf(count, exponent)
  const found = Array.from({ length: count }, () => 0)
  const draws = 400_000
  for (let i = 0; i < draws; i++) found[place(next())]! += 1
  const sum = found.reduce((total, _, i) => total + 1 / (i + 1) ** exponent, 0)
  for (const at of [0, 1, 9, 99]) {
    const expected = draws / (at + 1) ** exponent / sum
    expect(found[at]! / expected).toBeGreaterThan(0.8)
    expect(found[at]! / expected).toBeLessThan(1.25)
  }
  expect(place(0)).toBe(0)
  expect(place(1 - Number.EPSILON)).toBe(count - 1)
})

test('of a million places the first percent has most of the draws', () => {
  const next = random(2)
  const place = zipf(1_000_000)
  const draws = Array.from({ length: 20_000 }, () => place(next()))
  expect(draws.filter((at) => at < 10_000).length / draws.length).toBeGreaterThan(0.6)
  expect(Math.max(...draws)).toBeLessThan(1_000_000)
})
