import { pino } from 'pino'
import { expect, test, vi } from 'vitest'
import { withoutGaps } from './relay-batch.ts'
import { createPacing } from './relay-pacing.ts'
import type { OutboxRow, RelaySource } from './relay-source.ts'
import { relayDefaults, startRelay } from './relay.ts'

const row = (position: number, partitionKey: string, sequence: number): OutboxRow<number> => ({
  position,
  partitionKey,
  sequence,
  payload: Buffer.from(`${partitionKey}${sequence}`),
})

/** An outbox in memory whose lease can be taken away. */
function memoryOutbox(rows: OutboxRow<number>[]) {
  const state = { token: 0, rows: [...rows] }
  const source: RelaySource<number> = {
    acquireLease: async () => ({ token: (state.token += 1) }),
    renewLease: async ({ token }) => (token === state.token ? { isShared: true } : undefined),
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
const quick = {
  ...relayDefaults,
  batchRows: 2,
  pollMinMs: 1,
  pollMaxMs: 2,
  roundMs: 1,
  retryMinMs: 1,
  retryMaxMs: 1,
  standbyMs: 1,
}
const silent = pino({ level: 'silent' })

async function run(
  outbox: ReturnType<typeof memoryOutbox>,
  publish: (batch: string[]) => Promise<void>,
  options = quick,
): Promise<void> {
  const empty = Promise.withResolvers<void>()
  const relay = startRelay(
    outbox.source,
    { publish: (rows) => publish(rows.map(({ payload }) => payload.toString())), close: async () => {} },
    { ...metrics, relayed: () => void (outbox.state.rows.length === 0 && empty.resolve()) },
    silent,
    options,
  )
  await empty.promise
  await relay.close()
}

test('each row is sent once, in order', async () => {
  const sent: string[] = []
  await run(memoryOutbox([row(1, 'a', 1), row(2, 'b', 1), row(3, 'a', 2)]), async (batch) => void sent.push(...batch))
  expect(sent).toEqual(['a1', 'b1', 'a2'])
})

test('unacknowledged rows are sent again, before anything later', async () => {
  const sent: string[] = []
  let failures = 2
  await run(memoryOutbox([row(1, 'a', 1), row(2, 'a', 2), row(3, 'a', 3)]), async (batch) => {
    sent.push(...batch)
    if (failures > 0) {
      failures -= 1
      throw new Error('no answer')
    }
  })
  expect(sent).toEqual(['a1', 'a2', 'a1', 'a1', 'a2', 'a3'])
})

test('a leader that lost its lease deletes nothing', async () => {
  const outbox = memoryOutbox([row(1, 'a', 1)])
  const left: number[] = []
  let first = true
  await run(outbox, async () => {
    // Another process took the lease while this batch was being sent.
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

test('a send stays below the largest batch that brokers accept, keys included', async () => {
  const rows = Array.from({ length: 6 }, (_, n) => ({
    ...row(n, 'k'.repeat(300), n),
    payload: Buffer.alloc(n === 3 ? 5_000 : 700, String(n)),
  }))
  const sent: string[][] = []
  await run(memoryOutbox(rows), async (batch) => void sent.push(batch.map(([first]) => first ?? '')), {
    ...quick,
    batchRows: 10,
    batchBytes: 2_500,
  })
  // A row above the limit goes alone: the broker may accept it, and nothing may overtake it.
  expect(sent).toEqual([['0', '1'], ['2'], ['3'], ['4', '5']])
})

test('after a failure less is sent, down to one row, then more again', async () => {
  const rows = Array.from({ length: 12 }, (_, n) => row(n, 'a', n))
  const sizes: number[] = []
  await run(
    memoryOutbox(rows),
    async ({ length }) => {
      sizes.push(length)
      if (sizes.length <= 4) throw new Error('refused')
    },
    { ...quick, batchRows: 8 },
  )
  expect(sizes).toEqual([8, 4, 2, 1, 1, 2, 4, 5])
})

test('slow reads do not stop the relay', async () => {
  const outbox = memoryOutbox([row(1, 'a', 1)])
  const { read } = outbox.source
  // Each read leaves less of the lease than a send may need.
  outbox.source.read = async (limits) => {
    await new Promise((resolve) => setTimeout(resolve, 60))
    return read(limits)
  }
  const sent: string[] = []
  await run(outbox, async (batch) => void sent.push(...batch), { ...quick, leaseMs: 100, sendLimitMs: 50 })
  expect(sent).toEqual(['a1'])
})

test('each outage is logged once, even if nothing was relayed since the previous one', async () => {
  const warnings: string[] = []
  const log = pino(
    { level: 'info' },
    { write: (line: string) => void warnings.push((JSON.parse(line) as { msg: string }).msg) },
  )
  const outbox = memoryOutbox([])
  const { read } = outbox.source
  let reads = 0
  const ended = Promise.withResolvers<void>()
  outbox.source.read = async (limits) => {
    reads += 1
    if (reads === 8) ended.resolve()
    // Two outages with a quiet period in between.
    if (reads <= 2 || reads === 5 || reads === 6) throw new Error('down')
    return read(limits)
  }
  const relay = startRelay(outbox.source, { publish: async () => {}, close: async () => {} }, metrics, log, quick)
  await ended.promise
  await relay.close()
  expect(warnings).toEqual([
    'relay leads',
    'relay failed, trying again',
    'relay recovered',
    'relay failed, trying again',
    'relay recovered',
  ])
})

test('where nobody else asks for the lease the outbox is read after a commit, not by polling', async () => {
  const outbox = memoryOutbox([])
  const { read } = outbox.source
  let reads = 0
  outbox.source.read = async (limits) => {
    reads += 1
    return read(limits)
  }
  let others = true
  outbox.source.renewLease = async () => ({ isShared: others })
  const sent: string[] = []
  const publisher = {
    publish: async (rows: { payload: Buffer }[]) => void sent.push(...rows.map(({ payload }) => payload.toString())),
    close: async () => {},
  }
  const options = { ...quick, leaseMs: 100, sendLimitMs: 50, pollAloneMs: 60_000 }
  const relay = startRelay(outbox.source, publisher, metrics, silent, options)
  await expect.poll(() => reads).toBeGreaterThan(30)
  others = false
  let before: number
  do {
    before = reads
    await new Promise((resolve) => setTimeout(resolve, 100))
  } while (reads > before)
  outbox.state.rows = [row(1, 'a', 1)]
  relay.wake()
  await expect.poll(() => sent).toEqual(['a1'])
  await relay.close()
})

test('a few rounds start at once, then they wait for each other, until it has been quiet', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
  try {
    const pacing = createPacing({ ...relayDefaults, roundMs: 40, roundsAtOnce: 3 })
    /** How long a round waits, in milliseconds. */
    const waited = async () => {
      const began = performance.now()
      let isOver = false
      void pacing.nextRound().then(() => (isOver = true))
      await vi.advanceTimersByTimeAsync(0)
      while (!isOver) await vi.advanceTimersByTimeAsync(1)
      return Math.round(performance.now() - began)
    }
    const waits = [await waited(), await waited(), await waited(), await waited(), await waited()]
    expect(waits).toEqual([0, 0, 40, 40, 40])
    await vi.advanceTimersByTimeAsync(200)
    expect(await waited()).toBe(0)
  } finally {
    vi.useRealTimers()
  }
})
