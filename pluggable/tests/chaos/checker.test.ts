import { describe, expect, test } from 'vitest'
import { countRepeats, findViolations, type Arrival, type Attempt, type FinalState, type Outcome } from './checker.ts'

const attempt = (id: string, keys: string[], outcome: Outcome = 'acked', over?: string): Attempt => ({
  id,
  outcome,
  events: keys.map((key) => ({ id: `${id}:${key}`, key, ...(over === undefined ? {} : { over }) })),
})

let offset = 0
const arrival = (transaction: string, key: string, sequence: number, more: Partial<Arrival> = {}): Arrival => ({
  key,
  sequence,
  id: `${transaction}:${key}`,
  bytes: `${transaction} ${sequence}`,
  partition: 0,
  offset: (offset += 1),
  ...more,
})

const state = (committed: string[], last: Record<string, string>): FinalState => ({
  committed: new Set(committed),
  last: new Map(Object.entries(last)),
})

const kinds = (...given: Parameters<typeof findViolations>) => findViolations(...given).map(({ kind }) => kind)

// Two keys, with one transaction over both, one refused and two unknown.
const attempts = [
  attempt('t1', ['a']),
  attempt('t2', ['a', 'b'], 'acked'),
  attempt('t3', ['b'], 'refused'),
  attempt('t4', ['a'], 'unknown', 't2'),
  attempt('t5', ['b'], 'unknown'),
]
const final = state(['t1', 't2', 't4'], { a: 't4', b: 't2' })
const records = () => [arrival('t1', 'a', 1), arrival('t2', 'a', 2), arrival('t2', 'b', 1), arrival('t4', 'a', 3)]

describe('allowed', () => {
  test('a correct history, with one unknown transaction committed and one not', () => {
    expect(findViolations(attempts, final, records())).toEqual([])
  })

  test('repeats with the same bytes, even after later events', () => {
    const all = records()
    const repeats = all.slice(0, 2).map((each) => ({ ...each, offset: each.offset + 100 }))
    expect(findViolations(attempts, final, [...all, ...repeats])).toEqual([])
    expect(countRepeats([...all, ...repeats])).toBe(2)
  })

  test('nothing at all', () => {
    expect(findViolations([], state([], {}), [])).toEqual([])
  })
})

describe('violations', () => {
  test('an acknowledged commit is lost', () => {
    const [, , ...rest] = records()
    expect(kinds(attempts, state(['t1', 't4'], { a: 't4' }), rest)).toContain('lost commit')
  })

  test('a refused transaction is committed', () => {
    expect(kinds(attempts, state(['t1', 't2', 't3', 't4'], { a: 't4', b: 't3' }), records())).toEqual([
      'undead commit',
      'lost event',
      'order of commits',
    ])
  })

  test('the event of a commit is lost, whether acknowledged or unknown', () => {
    const without = (id: string) =>
      kinds(
        attempts,
        final,
        records().filter((each) => each.id !== id),
      )
    expect(without('t1:a')).toEqual(['lost event', 'gap'])
    expect(without('t2:b')).toEqual(['lost event'])
    expect(without('t4:a')).toEqual(['lost event', 'order of commits'])
  })

  test('an event is published without a commit: refused, unknown or never written', () => {
    expect(kinds(attempts, final, [...records(), arrival('t3', 'b', 2)])).toEqual([
      'event from nothing',
      'order of commits',
    ])
    expect(kinds(attempts, final, [...records(), arrival('t5', 'b', 2)])).toEqual([
      'event from nothing',
      'order of commits',
    ])
    expect(kinds(attempts, final, [...records(), arrival('t9', 'c', 1)])).toEqual(['event from nothing'])
  })

  test('events of a key are reordered', () => {
    const [first, second, ...rest] = records() as [Arrival, Arrival, ...Arrival[]]
    expect(
      kinds(attempts, final, [{ ...first, offset: second.offset }, { ...second, offset: first.offset }, ...rest]),
    ).toEqual(['out of order'])
  })

  test('a repeat has different bytes', () => {
    const all = records()
    expect(kinds(attempts, final, [...all, { ...all[0]!, offset: 1_000, bytes: 'other' }])).toEqual(['changed repeat'])
  })

  test('an event has two numbers', () => {
    expect(kinds(attempts, final, [...records(), arrival('t4', 'a', 4)])).toContain('event twice')
  })

  test('a number is missing', () => {
    const all = records().map((each) => (each.id === 't4:a' ? { ...each, sequence: 4 } : each))
    expect(kinds(attempts, final, all)).toEqual(['gap'])
  })

  test('a key is in two partitions', () => {
    const all = records().map((each) => (each.id === 't4:a' ? { ...each, partition: 1 } : each))
    expect(kinds(attempts, final, all)).toEqual(['two partitions'])
  })

  test('numbers and commits differ in order', () => {
    // t4 overwrote t2's state, so no event of that key can be between them.
    const swapped = [arrival('t2', 'a', 1), arrival('t1', 'a', 2), arrival('t4', 'a', 3), arrival('t2', 'b', 1)]
    expect(kinds(attempts, final, swapped)).toEqual(['order of commits'])
    expect(kinds(attempts, state(['t1', 't2', 't4'], { a: 't1', b: 't2' }), records())).toEqual(['order of commits'])
  })
})
