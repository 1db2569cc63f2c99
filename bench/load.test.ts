import { expect, test } from 'vitest'
import { summary } from './load.ts'

test('percentiles are measured values: nothing is interpolated', () => {
  const times = [...Array.from({ length: 98 }, (_, n) => n + 1), 500, 900].toReversed()
  expect(summary(times)).toEqual({ count: 100, p50Ms: 50, p99Ms: 500, maxMs: 900 })
})
