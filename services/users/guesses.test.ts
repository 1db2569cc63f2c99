import { expect, test } from 'vitest'
import { afterWrong, pauseMs, rules, waitMs } from './guesses.ts'

test('pauses double up to the longest one', () => {
  const rule = { free: 5, longestMs: 60_000 }
  expect([0, 4, 5, 6, 7, 10, 11, 1_000].map((failures) => pauseMs(failures, rule))).toEqual([
    0, 0, 1_000, 2_000, 4_000, 32_000, 60_000, 60_000,
  ])
})

const wrong = (clients: string[]) =>
  clients.reduce<ReturnType<typeof afterWrong> | undefined>(
    (before, client) => afterWrong(before, client, 0),
    undefined,
  )

test('a client that guesses waits, and others do not', () => {
  const guesses = wrong(Array(rules.client.free).fill('a'))
  expect([waitMs(guesses, 'a', 0), waitMs(guesses, 'a', 400), waitMs(guesses, 'a', 1_000)]).toEqual([1_000, 600, 0])
  expect(waitMs(guesses, 'b', 0)).toBe(0)
})

test('clients that guess together all wait, each after one guess only', () => {
  const guesses = wrong(Array.from({ length: rules.account.free }, (_, i) => `client ${i}`))
  expect(waitMs(guesses, 'another', 0)).toBe(1_000)
  expect(Object.keys(guesses!.clients)).toHaveLength(20)
})
