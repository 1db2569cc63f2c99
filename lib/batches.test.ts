import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import * as z from 'zod'
import { createBatches, type Draft, type Work } from './batches.ts'
import type { Operation, StateStore } from './dapr.ts'
import { AppError, rejected, unavailable } from './errors.ts'

// The rules of batches, on a store in memory with etags: what a real store does with the same
// batches is tested with the services.

const number = z.number()
type Fault = 'none' | 'conflict' | 'unavailable' | 'refused'

/** A store in memory. `fault` decides what becomes of each transaction. */
function memoryStore(fault: (operations: Operation[]) => Fault = () => 'none') {
  const rows = new Map<string, { text: string; etag: string }>()
  const events: unknown[] = []
  const transactions: Operation[][] = []
  const reads: string[][] = []
  let version = 0
  const state: Pick<StateStore, 'bulkText' | 'transact'> = {
    async bulkText(keys) {
      reads.push(keys)
      return new Map(keys.flatMap((key) => (rows.has(key) ? [[key, rows.get(key)!] as const] : [])))
    },
    async transact(operations) {
      switch (fault(operations)) {
        case 'conflict':
          throw new AppError('conflict', 'etag_mismatch', 'changed')
        case 'unavailable':
          throw unavailable('store_unavailable', 'away')
        case 'refused':
          throw rejected('event_too_large', 'too large')
        case 'none':
      }
      for (const operation of operations) {
        if (!('upsert' in operation)) continue
        const { upsert: key, etag, firstWrite } = operation
        if ((etag !== undefined && rows.get(key)?.etag !== etag) || (firstWrite && rows.has(key)))
          throw new AppError('conflict', 'etag_mismatch', 'changed')
      }
      transactions.push(operations)
      for (const operation of operations) {
        if ('upsert' in operation)
          rows.set(operation.upsert, { text: JSON.stringify(operation.value), etag: String((version += 1)) })
        else if ('delete' in operation) rows.delete(operation.delete)
        else events.push(operation.event.data)
      }
    },
  }
  const value = (key: string): unknown => rows.has(key) && JSON.parse(rows.get(key)!.text)
  return { state: state as StateStore, rows, events, transactions, reads, value }
}

const add = (key: string, amount: number, more: Partial<Work<number>> = {}): Work<number> => ({
  keys: [key],
  decide(draft) {
    const sum = (draft.get(key, number) ?? 0) + amount
    draft.put(key, sum)
    draft.publish({ type: 'added', key, data: { key, sum } })
    return sum
  },
  ...more,
})

describe('what is told', () => {
  const tell = (id: string, value: number, more: { topic?: string; fails?: boolean } = {}): Work<void> => ({
    keys: [],
    decide(draft) {
      const { topic, fails } = more
      draft.tell({ type: 'told', list: 'numbers', id, item: { id, value }, ...(topic === undefined ? {} : { topic }) })
      if (fails) throw rejected('no', 'no')
    },
  })

  test('is one event of each topic, with the last about each; what fails tells nothing', async () => {
    const { state, transactions } = memoryStore()
    const { commit } = createBatches(state)
    const works = [
      tell('a', 1),
      tell('b', 1),
      tell('a', 2),
      tell('c', 1, { topic: 'other' }),
      tell('d', 1, { fails: true }),
    ]
    await Promise.allSettled(works.map(commit))
    expect(transactions).toEqual([
      [
        {
          event: {
            type: 'told',
            key: 'a',
            data: {
              numbers: [
                { id: 'a', value: 2 },
                { id: 'b', value: 1 },
              ],
            },
          },
        },
        { event: { type: 'told', key: 'c', topic: 'other', data: { numbers: [{ id: 'c', value: 1 }] } } },
      ],
    ])
  })

  test('fits into events: of 500 entries and 256 KiB at most', async () => {
    const { state, events } = memoryStore()
    const { commit } = createBatches(state)
    const all = Array.from({ length: 1_200 }, (_, n) => n)
    const large = { text: 'x'.repeat(100 * 1024) }
    await commit({
      keys: [],
      decide(draft) {
        for (const n of all) draft.tell({ type: 'small', list: 'all', id: `${n}`, item: { n } })
        for (const n of all.slice(0, 5)) draft.tell({ type: 'large', list: 'all', id: `${n}`, item: large })
      },
    })
    const lists = events.map((data) => (data as { all: { n: number }[] }).all)
    expect(lists.map(({ length }) => length)).toEqual([500, 500, 200, 2, 2, 1])
    expect(lists.slice(0, 3).flatMap((list) => list.map(({ n }) => n))).toEqual(all)
  })
})

describe('works that arrive together', () => {
  test('are one read and one transaction, and each sees what the earlier ones did', async () => {
    const { state, transactions, reads, events } = memoryStore()
    const { commit } = createBatches(state)
    expect(await Promise.all([commit(add('a', 1)), commit(add('a', 2)), commit(add('b', 5))])).toEqual([1, 3, 5])
    expect(reads).toEqual([['a', 'b']])
    expect(transactions).toHaveLength(1)
    expect(transactions[0]!.filter((o) => 'upsert' in o)).toEqual([
      { upsert: 'a', value: 3, firstWrite: true },
      { upsert: 'b', value: 5, firstWrite: true },
    ])
    expect(events).toEqual([
      { key: 'a', sum: 1 },
      { key: 'a', sum: 3 },
      { key: 'b', sum: 5 },
    ])
  })

  test('or during a commit: are the next batch', async () => {
    const { state, transactions } = memoryStore()
    const { commit } = createBatches(state)
    const later = commit(add('a', 1)).then(() => Promise.all([commit(add('a', 1)), commit(add('b', 1))]))
    expect(await later).toEqual([2, 1])
    expect(transactions).toHaveLength(2)
  })

  test('that change nothing: write nothing', async () => {
    const { state, transactions } = memoryStore()
    expect(
      await createBatches(state).commit({ keys: ['a'], decide: (draft) => draft.get('a', number) }),
    ).toBeUndefined()
    expect(transactions).toEqual([])
  })
})

describe('a work that fails', () => {
  const broken: Work<number> = {
    keys: ['a'],
    order: 'a',
    decide(draft) {
      draft.put('a', 100)
      throw new TypeError('a mistake')
    },
  }
  test('changes nothing, and fails alone', async () => {
    const { state, value } = memoryStore()
    const { commit } = createBatches(state)
    const results = await Promise.allSettled([commit(add('a', 1)), commit(broken), commit(add('a', 2))])
    expect(results).toMatchObject([{ value: 1 }, { reason: new TypeError('a mistake') }, { value: 3 }])
    expect(value('a')).toBe(3)
  })

  test('holds up those behind it that have the same order', async () => {
    const { state, value } = memoryStore()
    const { commit } = createBatches(state)
    const results = await Promise.allSettled([
      commit(broken),
      commit(add('a', 1, { order: 'a' })),
      commit(add('b', 1, { order: 'b' })),
    ])
    expect(results).toMatchObject([
      { status: 'rejected' },
      { reason: { kind: 'unavailable', code: 'behind_failed' } },
      { value: 1 },
    ])
    expect(value('a')).toBe(false)
  })

  test('because of a key that it did not name: says so', async () => {
    const { commit } = createBatches(memoryStore().state)
    await expect(commit({ keys: [], decide: (draft) => draft.get('a', number) })).rejects.toThrow('must name')
  })

  test('because the store refuses it: fails alone, and the others are committed', async () => {
    const big = (o: Operation[]) => o.some((each) => 'upsert' in each && each.upsert === 'big')
    const { state, value } = memoryStore((operations) => (big(operations) ? 'refused' : 'none'))
    const { commit } = createBatches(state)
    const results = await Promise.allSettled(['a', 'big', 'b', 'c', 'd'].map((key) => commit(add(key, 1))))
    expect(results.map(({ status }) => status)).toEqual([
      'fulfilled',
      'rejected',
      'fulfilled',
      'fulfilled',
      'fulfilled',
    ])
    expect(['a', 'big', 'b', 'c', 'd'].map(value)).toEqual([1, false, 1, 1, 1])
  })
})

describe('a key that is presumed absent', () => {
  const insert: Work<number> = {
    keys: [],
    presumedAbsent: ['a'],
    decide(draft) {
      const known = draft.get('a', number)
      if (known === undefined) draft.put('a', 1)
      return known ?? 1
    },
  }
  test('is not read', async () => {
    const { state, reads, transactions } = memoryStore()
    expect(await createBatches(state).commit(insert)).toBe(1)
    expect(reads).toEqual([[]])
    expect(transactions).toEqual([[{ upsert: 'a', value: 1, firstWrite: true }]])
  })

  test('and is not: is read and decided again, also beside others', async () => {
    const { state, value } = memoryStore()
    const { commit } = createBatches(state)
    await commit(add('a', 7))
    expect(await Promise.all([commit(insert), commit(add('b', 1)), commit(insert)])).toEqual([7, 1, 7])
    expect(value('a')).toBe(7)
  })
})

describe('a work that names further keys', () => {
  const text = z.string()
  /** Adds to what `pointer` names. */
  const addBehind = (pointer: string, amount: number): Work<number> => {
    const target = (known: Pick<Draft, 'get'>) => known.get(pointer, text)
    return {
      keys: [pointer],
      moreKeys: (known) => [target(known) ?? 'none'],
      decide(draft) {
        const key = target(draft)
        if (key === undefined) return 0
        const sum = (draft.get(key, number) ?? 0) + amount
        draft.put(key, sum)
        return sum
      },
    }
  }
  const point = (pointer: string, key: string): Work<void> => ({
    keys: [pointer],
    decide: (draft) => draft.put(pointer, key),
  })

  test('is a second read for its whole batch', async () => {
    const { state, reads, transactions, value } = memoryStore()
    const { commit } = createBatches(state)
    await Promise.all([commit(point('p', 'a')), commit(point('q', 'b')), commit(add('a', 1))])
    const [first, ...others] = await Promise.all([
      commit(addBehind('p', 10)),
      commit(addBehind('q', 5)),
      commit(addBehind('p', 1)),
      commit(addBehind('none', 1)),
    ])
    expect([first, ...others]).toEqual([11, 5, 12, 0])
    expect(reads.slice(1)).toEqual([
      ['p', 'q', 'none'],
      ['a', 'b'],
    ])
    expect(transactions.at(-1)).toEqual([
      { upsert: 'a', value: 12, etag: expect.any(String) },
      { upsert: 'b', value: 5, firstWrite: true },
    ])
    expect(value('a')).toBe(12)
  })

  test('that an earlier one of its batch has changed: they are read once that is committed', async () => {
    const { state, value } = memoryStore()
    const { commit } = createBatches(state)
    await Promise.all([commit(point('p', 'a')), commit(add('b', 7))])
    const works = [addBehind('p', 1), point('p', 'b'), addBehind('p', 1), add('a', 1)].map((work) =>
      commit<unknown>(work),
    )
    expect(await Promise.all(works)).toEqual([1, undefined, 8, 2])
    expect([value('a'), value('b')]).toEqual([2, 8])
  })

  test('fails alone when they cannot be told', async () => {
    const { state } = memoryStore()
    const { commit } = createBatches(state)
    await commit(add('p', 1))
    const results = await Promise.allSettled([commit(addBehind('p', 1)), commit(add('a', 1))])
    expect(results).toMatchObject([{ status: 'rejected', reason: { name: 'ZodError' } }, { value: 1 }])
  })
})

test('of events that replace earlier ones of their key, a batch publishes the last', async () => {
  const { state, events } = memoryStore()
  const { commit } = createBatches(state)
  const tell = (key: string, data: number): Work<void> => ({
    keys: [],
    decide: (draft) => draft.publish({ type: 'state', key, data, replacesEarlier: true }),
  })
  await Promise.all([commit(tell('a', 1)), commit(tell('b', 2)), commit(add('a', 5)), commit(tell('a', 3))])
  expect(events).toEqual([2, { key: 'a', sum: 5 }, 3])
})

test('works that are too large together for one message are several transactions', async () => {
  const { state, transactions } = memoryStore()
  const { commit } = createBatches(state)
  const large = (key: string): Work<void> => ({
    keys: [key],
    decide: (draft) => draft.put(key, 'x'.repeat(1_000_000)),
  })
  const keys = ['a', 'b', 'c', 'd', 'e']
  for (const key of keys) await commit(large(key))
  await Promise.all(keys.map((key) => commit(large(key))))
  expect(transactions.map((each) => each.length)).toEqual([1, 1, 1, 1, 1, 2, 3])

  const told = ['f', 'g', 'h'].map((key) => commit({ ...large(key), bytes: 600_000 }))
  await Promise.all(told)
  expect(transactions.slice(-3).map((each) => each.length)).toEqual([1, 1, 1])
})

test('a store that is away: every work fails, and nothing is retried', async () => {
  let calls = 0
  const { state } = memoryStore(() => ((calls += 1), 'unavailable'))
  const { commit } = createBatches(state)
  const results = await Promise.allSettled([commit(add('a', 1)), commit(add('b', 1))])
  for (const result of results) expect(result).toMatchObject({ reason: { code: 'store_unavailable' } })
  expect(calls).toBe(1)
})

test('whatever fails in between: works that were done were done once, in order', async () => {
  const faults = fc.infiniteStream(
    fc.oneof(
      { weight: 6, arbitrary: fc.constant<Fault>('none') },
      { weight: 2, arbitrary: fc.constant<Fault>('conflict') },
      { weight: 1, arbitrary: fc.constant<Fault>('unavailable') },
      { weight: 1, arbitrary: fc.constant<Fault>('refused') },
    ),
  )
  const works = fc.array(
    fc.record({ key: fc.constantFrom('a', 'b', 'c'), amount: fc.integer(), pause: fc.boolean() }),
    {
      maxLength: 30,
    },
  )
  await fc.assert(
    fc.asyncProperty(works, faults, async (all, fault) => {
      const { state, value, events } = memoryStore(() => fault.next().value)
      const { commit } = createBatches(state)
      const settled: Promise<unknown>[] = []
      const done: { key: string; amount: number }[] = []
      for (const { key, amount, pause } of all) {
        const work = commit(add(key, amount, { order: key })).then(
          () => done.push({ key, amount }),
          () => {},
        )
        settled.push(work)
        if (pause) await new Promise(setImmediate)
      }
      await Promise.all(settled)
      // What the events say happened is what the callers were told, in the same order for each key.
      const sums = new Map<string, number>()
      const expected = done.map(({ key, amount }) => {
        sums.set(key, (sums.get(key) ?? 0) + amount)
        return { key, sum: sums.get(key) }
      })
      for (const key of ['a', 'b', 'c']) {
        const of = (each: unknown) => (each as { key: string }).key === key
        expect(events.filter(of)).toEqual(expected.filter(of))
        expect(value(key)).toBe(sums.get(key) ?? false)
      }
    }),
    { numRuns: 200 },
  )
})
