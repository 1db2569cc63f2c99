import { expect, test } from 'vitest'
import { mongodbUnderTest, mysqlUnderTest } from '../stores.ts'
import { runBacklog } from './backlog.ts'

// The relay holds one batch at a time, plus garbage that Node has not collected yet. Measured with
// 200,000 rows: 145 MB on MySQL and 120 MB on MongoDB, on top of 140 MB.
const boundBytes = 200 * 1024 * 1024

test.each([
  { store: mysqlUnderTest(), rows: 200_000 },
  // On the tests' server a read slows down with the number of documents: 200,000 take a minute.
  { store: mongodbUnderTest(), rows: 50_000 },
])(
  'state.$store.type drains $rows rows in order and in bounded memory',
  async ({ store, rows }) => {
    const result = await runBacklog(store, rows)
    expect(result).toMatchObject({ rows, arrived: rows, outOfOrder: 0 })
    expect(result.peakBytes - result.idleBytes).toBeLessThan(boundBytes)
  },
  600_000,
)
