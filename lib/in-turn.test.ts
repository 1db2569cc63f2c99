import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createTurns } from './in-turn.ts'

test('work that shares a key never overlaps and keeps its order, whatever fails or takes long', async () => {
  const job = fc.record({
    keys: fc.uniqueArray(fc.constantFrom('a', 'b', 'c'), { minLength: 1 }),
    steps: fc.nat(4),
    fails: fc.boolean(),
  })
  await fc.assert(
    fc.asyncProperty(fc.array(job, { maxLength: 12 }), async (jobs) => {
      const inTurn = createTurns()
      const busy = new Set<string>()
      const ran: Record<string, number[]> = { a: [], b: [], c: [] }
      const results = await Promise.allSettled(
        jobs.map(({ keys, steps, fails }, i) =>
          inTurn(keys, async () => {
            for (const key of keys) {
              expect(busy.has(key)).toBe(false)
              busy.add(key)
              ran[key]!.push(i)
            }
            for (let s = 0; s < steps; s++) await Promise.resolve()
            for (const key of keys) busy.delete(key)
            if (fails) throw new Error('failed')
            return i
          }),
        ),
      )
      expect(results.map((r) => r.status)).toEqual(jobs.map((j) => (j.fails ? 'rejected' : 'fulfilled')))
      for (const all of Object.values(ran)) expect(all).toEqual([...all].sort((x, y) => x - y))
    }),
  )
})

test('work with other keys does not wait', async () => {
  const inTurn = createTurns()
  let free = () => {}
  const first = inTurn(['a'], () => new Promise<void>((resolve) => (free = resolve)))
  await inTurn(['b'], async () => {})
  free()
  await first
})
