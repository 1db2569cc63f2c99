import { expect, test } from 'vitest'
import { ComponentError } from './errors.ts'
import { createSharedReads } from './shared-reads.ts'

/** A database whose queries wait for the test to answer them. */
function database() {
  const queries: { keys: string; answer(): void; fail(error: Error): void }[] = []
  const get = createSharedReads<string>(
    (keys) => {
      const { promise, resolve, reject } = Promise.withResolvers<Map<string, string>>()
      queries.push({
        keys: keys.join(''),
        answer: () => resolve(new Map(keys.map((key) => [key, `${key}!`]))),
        fail: reject,
      })
      return promise
    },
    { parallel: 1, keys: 3 },
  )
  const queried = async (count: number) => {
    await expect.poll(() => queries.length).toBe(count)
  }
  return { get, queries, queried, keys: () => queries.map(({ keys }) => keys) }
}

test('reads during a query share the next one, each key once, up to a limit', async () => {
  const { get, queries, queried, keys } = database()
  const first = get('a')
  await queried(1)
  const others = ['b', 'c', 'b', 'd'].map(get)
  queries[0]?.answer()
  await queried(2)
  queries[1]?.answer()
  await queried(3)
  queries[2]?.answer()
  expect(await Promise.all([first, ...others])).toEqual(['a!', 'b!', 'c!', 'b!', 'd!'])
  expect(keys()).toEqual(['a', 'bc', 'd'])
})

test('a read that arrives during a query does not get its result', async () => {
  const { get, queries, queried } = database()
  const early = get('a')
  await queried(1)
  const late = get('a')
  queries[0]?.answer()
  await early
  await queried(2)
  queries[1]?.answer()
  expect(await late).toBe('a!')
})

test('an unreadable value fails only its own read', async () => {
  const { get, queries, queried, keys } = database()
  const both = Promise.allSettled([get('a'), get('b')])
  await queried(1)
  queries[0]?.fail(new Error('unreadable'))
  await queried(2)
  queries[1]?.fail(new Error('unreadable'))
  await queried(3)
  queries[2]?.answer()
  expect((await both).map(({ status }) => status)).toEqual(['rejected', 'fulfilled'])
  expect(keys()).toEqual(['ab', 'a', 'b'])
})

test('a database that does not respond fails waiting reads too', async () => {
  const { get, queries, queried, keys } = database()
  const first = get('a')
  await queried(1)
  const all = Promise.allSettled([first, get('b')])
  queries[0]?.fail(new ComponentError('STORE_UNAVAILABLE', 'down'))
  expect((await all).map(({ status }) => status)).toEqual(['rejected', 'rejected'])
  expect(keys()).toEqual(['a'])
})
