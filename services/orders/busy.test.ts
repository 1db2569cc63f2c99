import { expect, test } from 'vitest'
import { createBusy, shareRefused } from './busy.ts'

test.each([
  [0, 0],
  [1_000, 0],
  [1_500, 0.5],
  [2_000, 1],
  [60_000, 1],
])('an oldest order that has waited %d ms of at most 2,000: %d of the new ones are refused', (waited, share) => {
  expect(shareRefused(waited, 2_000)).toBe(share)
})

const row = (at: number) => ({ key: '', queue: 'stock', at: new Date(at).toISOString(), tag: 'u', id: 'o' })

/** A limit of 2 s, whose oldest order was placed at `placedAt` and the time is `time`, in ms. */
function busyAt() {
  const state = { time: 100_000, placedAt: undefined as number | undefined, queries: 0, fails: false }
  const busy = createBusy({
    ranges: {
      async nextDue() {
        state.queries += 1
        if (state.fails) throw new Error('away')
        return state.placedAt === undefined ? undefined : row(state.placedAt + 900_000)
      },
    },
    now: () => new Date(state.time),
    stockTimeoutMs: 900_000,
    maxWaitMs: 2_000,
    random: () => 0.5,
  })
  return { state, busy }
}

test('orders are refused while the oldest has waited too long, and taken again afterwards', async () => {
  const { state, busy } = busyAt()
  await busy.requireRoom()
  state.placedAt = state.time - 5_000
  state.time += 1_000
  await busy.requireRoom()
  await expect(busy.requireRoom()).rejects.toMatchObject({ kind: 'unavailable', code: 'orders_busy' })
  state.placedAt = undefined
  state.time += 1_000
  await expect(busy.requireRoom()).rejects.toMatchObject({ code: 'orders_busy' })
  await busy.requireRoom()
})

test('the database is asked at most five times a second', async () => {
  const { state, busy } = busyAt()
  for (let i = 0; i < 100; i += 1) {
    await busy.requireRoom()
    state.time += 10
  }
  expect(state.queries).toBe(5)
})

test('a database that does not answer refuses nothing by itself', async () => {
  const { state, busy } = busyAt()
  await busy.requireRoom()
  state.fails = true
  state.time += 1_000
  await busy.requireRoom()
  await busy.requireRoom()
})
