import { expect, test } from 'vitest'
import { mongodbUnderTest, mysqlUnderTest } from '../outbox/testing.ts'
import { runBacklog } from './backlog.ts'

// The relay holds one batch at a time, 500 rows or 4 MiB, and what Node makes of them before it collects its garbage.
const boundBytes = 200 * 1024 * 1024

test.each([mysqlUnderTest(), mongodbUnderTest()])('state.$type drains a long backlog in order and in bounded memory', async (store) => {
  const result = await runBacklog(store, Number(process.env['ROWS'] ?? 200_000))
  if (process.env['ROWS']) process.stderr.write(JSON.stringify(result))
  expect(result).toMatchObject({ arrived: result.rows, outOfOrder: 0 })
  expect(result.peakBytes - result.idleBytes).toBeLessThan(boundBytes)
}, 600_000)
