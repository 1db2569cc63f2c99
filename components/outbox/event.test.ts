import { expect, test } from 'vitest'
import type { Operation, SetOperation } from '../host/state-store.ts'
import { inLockOrder, numberEvents, splitEvents } from './event.ts'

const defaults = { maxEventBytes: 1_000, now: () => new Date('2026-01-02T03:04:05.678Z') }

const set = (key: string, value: string, metadata: Record<string, string> = {}): SetOperation => ({
  kind: 'set',
  key,
  value: Buffer.from(value),
  firstWrite: false,
  metadata,
})
const marked = { 'outbox.projection': 'true', 'cloudevent.type': 'a.b.v1', 'cloudevent.id': 'e1' }

const oneEvent = (operation: Operation, transaction: Record<string, string> = {}) => {
  const [event] = splitEvents([operation], transaction, defaults).events
  if (!event) throw new Error('no event')
  return event
}

test('only marked operations are events, and they are no state', () => {
  const { state, events } = splitEvents(
    [set('app||a', '1'), set('app||a', '2', marked), set('app||b', '3', { 'outbox.projection': 'false' })],
    {},
    defaults,
  )
  expect([state.map(({ key }) => key), events.map(({ id }) => id)]).toEqual([['app||a', 'app||b'], ['e1']])
})

test('the envelope is a CloudEvent with the application key as partition key', () => {
  const event = oneEvent(set('app||order:1', '{"n":1}', { ...marked, 'cloudevent.subject': 's', 'cloudevent.tenant': 't' }), { traceparent: 'tp' })
  expect(event.partitionKey).toBe('order:1')
  expect(JSON.parse(event.encode(7).toString())).toEqual({
    specversion: '1.0',
    id: 'e1',
    source: 'app',
    type: 'a.b.v1',
    subject: 's',
    time: '2026-01-02T03:04:05.678Z',
    datacontenttype: 'application/json',
    traceparent: 'tp',
    partitionkey: 'order:1',
    tenant: 't',
    sequence: '7',
    data: { n: 1 },
  })
})

test('data keeps the digits that the application wrote', () => {
  expect(
    oneEvent(set('k', '{"id":12345678901234567890,"price":1.10}', marked))
      .encode(1)
      .toString(),
  ).toContain('{"id":12345678901234567890,"price":1.10}')
})

test('the size limit counts the envelope, whatever number the event gets', () => {
  const fits = set('k', JSON.stringify('x'.repeat(700)), marked)
  expect(oneEvent(fits).encode(Number.MAX_SAFE_INTEGER).length).toBeLessThanOrEqual(1_000)
  expect(() => oneEvent(set('k', JSON.stringify('x'.repeat(850)), marked))).toThrow('1000 are allowed')
})

test.each([
  ['no type', set('k', '1', { 'outbox.projection': 'true' }), 'cloudevent.type'],
  ['no JSON', set('k', 'text', marked), 'JSON'],
  ['a delete', { kind: 'delete', key: 'k', metadata: marked } as Operation, 'delete'],
  ['a partition key that no header can hold', set('krug-🏺', '1', marked), 'partitionKey'],
  ['a number of its own', set('k', '1', { ...marked, 'cloudevent.sequence': '5' }), 'cloudevent.sequence'],
])('an event with %s is refused', (_, operation, named) => {
  expect(() => oneEvent(operation)).toThrow(named)
})

test('rows are locked in the order of their keys', () => {
  expect(inLockOrder([{ key: 'b' }, { key: 'c' }, { key: 'a' }]).map(({ key }) => key)).toEqual(['a', 'b', 'c'])
})

test('numbers go on from the last of each partition key, in the given order', () => {
  const { events } = splitEvents([set('b', '1', marked), set('a', '2', marked), set('b', '3', marked)], {}, defaults)
  const { numbers, numbered } = numberEvents(events, new Map([['b', 7]]))
  expect([...numbers]).toEqual([
    ['b', 9],
    ['a', 1],
  ])
  expect(numbered.map(({ event, sequence, payload }) => [event.partitionKey, sequence, (JSON.parse(payload) as { sequence: string }).sequence])).toEqual([
    ['b', 8, '8'],
    ['a', 1, '1'],
    ['b', 9, '9'],
  ])
})
