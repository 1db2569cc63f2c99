import { expect, test } from 'vitest'
import { summary } from './load.ts'

test('a percentile is a value that was measured, and none of the rare ones is smoothed away', () => {
  const times = [...Array.from({ length: 98 }, (_, n) => n + 1), 500, 900].toReversed()
  expect(summary(times)).toEqual({ count: 100, p50Ms: 50, p99Ms: 500, maxMs: 900 })
})
