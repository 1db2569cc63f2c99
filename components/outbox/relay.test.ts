import { pino } from 'pino'
import { expect, test } from 'vitest'
import { relayDefaults, startRelay, withoutGaps, type OutboxRow, type OutboxSource } from './relay.ts'

const row = (position: number, partitionKey: string, sequence: number): OutboxRow<number> => ({
  position,
  partitionKey,
  sequence,
  payload: Buffer.from(`${partitionKey}${sequence}`),
})

/** An outbox in memory whose lease can be taken away. */
function memoryOutbox(rows: OutboxRow<number>[]) {
  const state = { token: 0, rows: [...rows] }
  const source: OutboxSource<number> = {
    acquireLease: async () => ({ token: (state.token += 1) }),
    renewLease: async ({ token }) => token === state.token,
    releaseLease: async () => {},
    read: async ({ rows: limit }) => state.rows.slice(0, limit),
    remove: async (gone, { token }) => {
      if (token !== state.token) return false
      state.rows = state.rows.filter((each) => !gone.some(({ position }) => position === each.position))
      return true
    },
  }
  return { state, source }
}

const metrics = { relayed: () => {}, failed: () => {}, leader: () => {} }
const quick = { ...relayDefaults, batchRows: 2, pollMinMs: 1, pollMaxMs: 2, retryMinMs: 1, retryMaxMs: 1, standbyMs: 1 }
const silent = pino({ level: 'silent' })

async function run(outbox: ReturnType<typeof memoryOutbox>, publish: (batch: string[]) => Promise<void>): Promise<void> {
  const empty = Promise.withResolvers<void>()
  const relay = startRelay(
    outbox.source,
    { publish: (rows) => publish(rows.map(({ payload }) => payload.toString())), close: async () => {} },
    { ...metrics, relayed: () => outbox.state.rows.length === 0 && empty.resolve() },
    silent,
    quick,
  )
  await empty.promise
  await relay.close()
}

test('rows go out once each, in order', async () => {
  const sent: string[] = []
  await run(memoryOutbox([row(1, 'a', 1), row(2, 'b', 1), row(3, 'a', 2)]), async (batch) => void sent.push(...batch))
  expect(sent).toEqual(['a1', 'b1', 'a2'])
})

test('what was not acknowledged is sent again, before anything later', async () => {
  const sent: string[] = []
  let failures = 2
  await run(memoryOutbox([row(1, 'a', 1), row(2, 'a', 2), row(3, 'a', 3)]), async (batch) => {
    sent.push(...batch)
    if (failures > 0) {
      failures -= 1
      throw new Error('no answer')
    }
  })
  expect(sent).toEqual(['a1', 'a2', 'a1', 'a2', 'a1', 'a2', 'a3'])
})

test('a leader that lost its lease deletes nothing', async () => {
  const outbox = memoryOutbox([row(1, 'a', 1)])
  const left: number[] = []
  let first = true
  await run(outbox, async () => {
    // Somebody else took the lease while this batch was being sent.
    if (first) outbox.state.token += 1
    else left.push(outbox.state.rows.length)
    first = false
  })
  expect(left).toEqual([1])
})

test('nothing of a key is sent past a gap in its numbers', () => {
  const rows = [row(1, 'a', 4), row(2, 'b', 1), row(3, 'a', 6), row(4, 'a', 7), row(5, 'b', 2)]
  expect(withoutGaps(rows).map(({ position }) => position)).toEqual([1, 2, 5])
})
