import { expect, test } from 'vitest'
import { ComponentError } from './errors.ts'
import { createSharedReads } from './shared-reads.ts'

/** A database that is asked for some keys at once, and answers when told to. */
function database() {
  const questions: { keys: string; answer(): void; fail(error: Error): void }[] = []
  const get = createSharedReads<string>(
    (keys) => {
      const { promise, resolve, reject } = Promise.withResolvers<Map<string, string>>()
      questions.push({
        keys: keys.join(''),
        answer: () => resolve(new Map(keys.map((key) => [key, `${key}!`]))),
        fail: reject,
      })
      return promise
    },
    { parallel: 1, keys: 3 },
  )
  const asked = async (count: number) => {
    await expect.poll(() => questions.length).toBe(count)
  }
  return { get, questions, asked, keys: () => questions.map(({ keys }) => keys) }
}

test('what comes while a question is open shares the next one, each key once, a few at most', async () => {
  const { get, questions, asked, keys } = database()
  const first = get('a')
  await asked(1)
  const others = ['b', 'c', 'b', 'd'].map(get)
  questions[0]?.answer()
  await asked(2)
  questions[1]?.answer()
  await asked(3)
  questions[2]?.answer()
  expect(await Promise.all([first, ...others])).toEqual(['a!', 'b!', 'c!', 'b!', 'd!'])
  expect(keys()).toEqual(['a', 'bc', 'd'])
})

test('a read that comes after the question was asked gets an answer of its own', async () => {
  const { get, questions, asked } = database()
  const early = get('a')
  await asked(1)
  const late = get('a')
  questions[0]?.answer()
  await early
  await asked(2)
  questions[1]?.answer()
  expect(await late).toBe('a!')
})

test('a value that cannot be read fails its own reader only', async () => {
  const { get, questions, asked, keys } = database()
  const both = Promise.allSettled([get('a'), get('b')])
  await asked(1)
  questions[0]?.fail(new Error('unreadable'))
  await asked(2)
  questions[1]?.fail(new Error('unreadable'))
  await asked(3)
  questions[2]?.answer()
  expect((await both).map(({ status }) => status)).toEqual(['rejected', 'fulfilled'])
  expect(keys()).toEqual(['ab', 'a', 'b'])
})

test('a database that does not answer fails those who wait too', async () => {
  const { get, questions, asked, keys } = database()
  const first = get('a')
  await asked(1)
  const all = Promise.allSettled([first, get('b')])
  questions[0]?.fail(new ComponentError('STORE_UNAVAILABLE', 'away'))
  expect((await all).map(({ status }) => status)).toEqual(['rejected', 'rejected'])
  expect(keys()).toEqual(['a'])
})
