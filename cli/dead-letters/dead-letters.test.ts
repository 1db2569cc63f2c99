import { expect, test } from 'vitest'
import { parkedType } from '#lib/consumer.ts'
import { deadLetters, settledType, type DeadRecord } from './dead-letters.ts'

const at = new Date('2026-01-02T03:04:05Z')
let offset = 0n
const record = (key: string, value: object | string): DeadRecord => ({
  partition: 0,
  offset: (offset += 1n),
  key,
  at,
  topic: 'stock',
  value: typeof value === 'string' ? value : JSON.stringify(value),
})
const event = (id: string) => ({ id, type: 'stock.stock-reserved.v1', data: { n: 1 } })
const ids = (letters: ReturnType<typeof deadLetters>, key: string) => letters.get(key)?.map(({ id }) => id)

test('the events of each key, in order, each once, with the reason of the first', () => {
  const data = {
    eventId: '1',
    eventType: 'stock.stock-reserved.v1',
    topic: 'stock',
    reason: 'TypeError: x',
    attempt: 2,
  }
  const letters = deadLetters([
    record('k', { id: 'p', type: parkedType, data }),
    record('k', event('1')),
    record('other', event('9')),
    record('k', event('2')),
    record('k', event('1')),
  ])
  expect(ids(letters, 'k')).toEqual(['1', '2'])
  expect(ids(letters, 'other')).toEqual(['9'])
  expect(letters.get('k')![0]).toMatchObject({ topic: 'stock', reason: 'TypeError: x', attempts: 2, since: at })
})

test('an event that was settled is gone, and is there again when it comes back', () => {
  const first = record('k', event('1'))
  const settled = record('k', {
    id: 's',
    type: settledType,
    data: { events: [{ id: '1', partition: 0, offset: String(first.offset) }] },
  })
  expect(ids(deadLetters([first, settled]), 'k')).toBeUndefined()
  expect(ids(deadLetters([first, settled, record('k', event('1'))]), 'k')).toEqual(['1'])
})

test('an event that came back before it was settled still waits', () => {
  const first = record('k', event('1'))
  const again = record('k', event('1'))
  const settled = record('k', {
    id: 's',
    type: settledType,
    data: { events: [{ id: '1', partition: 0, offset: String(first.offset) }] },
  })
  expect(ids(deadLetters([first, again, settled]), 'k')).toEqual(['1'])
})

test('what is no CloudEvent is shown as it is', () => {
  expect(deadLetters([record('k', 'nonsense')]).get('k')).toMatchObject([
    { type: 'not a CloudEvent', event: { value: 'nonsense' } },
  ])
})
