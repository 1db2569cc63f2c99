import { describe, expect, test } from 'vitest'
import type { Operation, SetOperation } from '../host/state-store.ts'
import { inLockOrder, numberEvents, splitEvents, type EventDefaults } from './event.ts'

const defaults: EventDefaults = {
  publish: 'projections',
  maxEventBytes: 1_000,
  now: () => new Date('2026-01-02T03:04:05.678Z'),
}

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

test('only marked operations are events, and they are not state', () => {
  const { state, events } = splitEvents(
    [set('app||a', '1'), set('app||a', '2', marked), set('app||b', '3', { 'outbox.projection': 'false' })],
    {},
    defaults,
  )
  expect([state.map(({ key }) => key), events.map(({ id }) => id)]).toEqual([['app||a', 'app||b'], ['e1']])
})

test('the envelope is a CloudEvent with the application key as partition key', () => {
  const event = oneEvent(
    set('app||order:1', '{"n":1}', { ...marked, 'cloudevent.subject': 's', 'cloudevent.tenant': 't' }),
    { traceparent: 'tp' },
  )
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

test("an operation's own traceparent is its event's; the transaction's is for the others", () => {
  const { events } = splitEvents(
    [set('app||a', '1', { ...marked, traceparent: 'own' }), set('app||b', '2', { ...marked, traceparent: '' })],
    { traceparent: 'of the transaction' },
    defaults,
  )
  const traces = events.map((event) => (JSON.parse(event.encode(1)) as { traceparent?: string }).traceparent)
  expect(traces).toEqual(['own', 'of the transaction'])
  expect(oneEvent(set('app||a', '1', marked)).encode(1)).not.toContain('traceparent')
})

test("an event's own topic is not in its envelope, and its numbers are its own", () => {
  const { events } = splitEvents(
    [
      set('k', '1', marked),
      set('k', '2', { ...marked, relayTopic: 'elsewhere' }),
      set('k', '3', { ...marked, relayTopic: 'ours' }),
      set('k', '4', { ...marked, relayTopic: 'elsewhere' }),
    ],
    {},
    { ...defaults, topic: 'ours' },
  )
  expect(events.map(({ topic }) => topic)).toEqual([undefined, 'elsewhere', undefined, 'elsewhere'])
  const { numbered } = numberEvents(events, new Map([['k', 4]]))
  expect(numbered.map(({ sequence }) => sequence)).toEqual([5, 1, 6, 2])
  expect(numbered.map(({ payload }) => payload).join()).not.toMatch(/elsewhere|relayTopic/)
})

test('data keeps the digits the application wrote', () => {
  expect(
    oneEvent(set('k', '{"id":12345678901234567890,"price":1.10}', marked))
      .encode(1)
      .toString(),
  ).toContain('{"id":12345678901234567890,"price":1.10}')
})

test('the size limit counts the envelope, whatever number the event gets', () => {
  const fits = set('k', JSON.stringify('x'.repeat(700)), marked)
  expect(oneEvent(fits).encode(Number.MAX_SAFE_INTEGER).length).toBeLessThanOrEqual(1_000)
  expect(() => oneEvent(set('k', JSON.stringify('x'.repeat(850)), marked))).toThrow('the limit is 1000')
})

test.each([
  ['no type', set('k', '1', { 'outbox.projection': 'true' }), 'cloudevent.type'],
  ['no JSON', set('k', 'text', marked), 'JSON'],
  ['a delete', { kind: 'delete', key: 'k', metadata: marked } as Operation, 'delete'],
  ['a partition key that a header cannot hold', set('krug-🏺', '1', marked), 'partitionKey'],
  ['an impossible topic', set('k', '1', { ...marked, relayTopic: 'a b' }), 'relayTopic'],
  ['its own number', set('k', '1', { ...marked, 'cloudevent.sequence': '5' }), 'cloudevent.sequence'],
])('an event with %s is refused', (_, operation, named) => {
  expect(() => oneEvent(operation)).toThrow(named)
})

test('rows are locked in the order of their keys', () => {
  expect(inLockOrder([{ key: 'b' }, { key: 'c' }, { key: 'a' }]).map(({ key }) => key)).toEqual(['a', 'b', 'c'])
})

test('numbers continue from the last one of each partition key, in the given order', () => {
  const { events } = splitEvents([set('b', '1', marked), set('a', '2', marked), set('b', '3', marked)], {}, defaults)
  const { numbers, numbered } = numberEvents(events, new Map([['b', 7]]))
  expect([...numbers]).toEqual([
    ['b', 9],
    ['a', 1],
  ])
  expect(
    numbered.map(({ event, sequence, payload }) => [
      event.partitionKey,
      sequence,
      (JSON.parse(payload) as { sequence: string }).sequence,
    ]),
  ).toEqual([
    ['b', 8, '8'],
    ['a', 1, '1'],
    ['b', 9, '9'],
  ])
})

/** What a transaction publishes with `publish: all`. */
const publishAll = (operations: Operation[], transaction: Record<string, string> = {}) => {
  const { state, events } = splitEvents(operations, transaction, { ...defaults, publish: 'all' })
  const published = events.map((event) => JSON.parse(event.encode(1)) as Record<string, unknown>)
  return {
    state: state.map(({ kind, key }) => `${kind} ${key}`),
    published,
    data: published.map(({ data, data_base64 }) => data ?? data_base64),
  }
}
const json = { contentType: 'application/json' }
const projection = { 'outbox.projection': 'true' }

describe('with publish: all', () => {
  test('every upsert is an event, a delete is not', () => {
    const { state, published } = publishAll([
      set('app||a', '{"n":1}', json),
      { kind: 'delete', key: 'app||b', metadata: {} },
      set('app||c', 'text'),
    ])
    expect(state).toEqual(['set app||a', 'delete app||b', 'set app||c'])
    expect(published).toEqual([
      {
        specversion: '1.0',
        id: expect.stringMatching(/^[0-9a-f-]{36}$/),
        source: 'app',
        type: 'com.dapr.event.sent',
        time: '2026-01-02T03:04:05.678Z',
        datacontenttype: 'application/json',
        partitionkey: 'a',
        sequence: '1',
        data: { n: 1 },
      },
      expect.objectContaining({ partitionkey: 'c', datacontenttype: 'text/plain', data: 'text' }),
    ])
  })

  test.each([
    ['JSON without a content type', '{"n":1}', {}, { datacontenttype: 'text/plain', data: '{"n":1}' }],
    [
      'JSON',
      '{"n":1}',
      { contentType: 'application/json; charset=utf-8' },
      { datacontenttype: 'application/json; charset=utf-8', data: { n: 1 } },
    ],
    [
      'JSON by its attribute only',
      '[1]',
      { datacontenttype: 'application/json' },
      { datacontenttype: 'application/json', data: [1] },
    ],
    ['invalid JSON', 'no', json, { datacontenttype: 'application/json', data: 'no' }],
    ['XML', '<a/>', { contentType: 'application/xml' }, { datacontenttype: 'application/xml', data: '<a/>' }],
    [
      'bytes',
      'ab',
      { contentType: 'application/octet-stream' },
      { datacontenttype: 'application/octet-stream', data_base64: 'YWI=' },
    ],
    ['invalid UTF-8', Buffer.from([0xff]), {}, { datacontenttype: 'application/octet-stream', data_base64: '/w==' }],
    [
      'text in another encoding',
      Buffer.from([0xe4]),
      { contentType: 'text/plain; charset=latin1' },
      { datacontenttype: 'text/plain; charset=latin1', data_base64: '5A==' },
    ],
  ])('%s is sent as its content type has it', (_, value, metadata, expected) => {
    const operation = { ...set('k', '', metadata), value: Buffer.from(value) }
    expect(publishAll([operation]).published).toEqual([expect.objectContaining(expected)])
  })

  test.each([
    ['A PA', [set('a', '1'), set('a', '10', projection)], ['10']],
    ['A PA B PB', [set('a', '1'), set('a', '10', projection), set('b', '2'), set('b', '20', projection)], ['10', '20']],
    ['A B PA PB', [set('a', '1'), set('b', '2'), set('a', '10', projection), set('b', '20', projection)], ['10', '20']],
    ['PA PB A B', [set('a', '10', projection), set('b', '20', projection), set('a', '1'), set('b', '2')], ['10', '20']],
    ['A PA B', [set('a', '1'), set('a', '10', projection), set('b', '2')], ['10', '2']],
    [
      'A PA PA',
      [set('a', '1'), set('a', '10', projection), set('a', '11', { 'outbox.projection': 'True' })],
      ['10', '11'],
    ],
    ['A PB', [set('a', '1'), set('b', '20', projection)], ['1', '20']],
  ])('%s: projections replace the value of their key', (_, operations, data) => {
    const result = publishAll(operations)
    expect(result.data).toEqual(data)
    const upserts = operations.filter(({ metadata }) => !('outbox.projection' in metadata))
    expect(result.state).toEqual(upserts.map(({ key }) => `set ${key}`))
  })

  test("a projection inherits its key's attributes, except the content type, and may set others", () => {
    const state = set('a', '{}', { ...json, 'cloudevent.type': 'of.state', subject: 's', 'my-custom-ce-field': 'abc' })
    expect(publishAll([state, set('a', '1', { ...projection, 'cloudevent.type': 'of.projection' })]).published).toEqual(
      [
        expect.objectContaining({
          type: 'of.projection',
          subject: 's',
          'my-custom-ce-field': 'abc',
          datacontenttype: 'text/plain',
          data: '1',
        }),
      ],
    )
  })

  test('plain names set attributes too, as with the built-in outbox, except those that only the outbox sets', () => {
    const metadata = {
      type: 't',
      source: 'x',
      id: 'i',
      data: 'd',
      sequence: '9',
      ttlInSeconds: '5',
      partitionKey: 'p',
      traceparent: 'own',
      'cloudevent.source': 'y',
    }
    const [event] = publishAll([set('app||a', '1', metadata)], { traceparent: 'of the transaction' }).published
    expect(event).toMatchObject({
      type: 't',
      source: 'y',
      partitionkey: 'p',
      sequence: '1',
      data: '1',
      traceparent: 'own',
    })
    expect(event?.['id']).not.toBe('i')
    expect(event).not.toHaveProperty('ttlInSeconds')
  })

  test('a key that consumers could not read is percent-encoded', () => {
    expect(publishAll([set('app||krug-🏺 1', '1')]).published).toEqual([
      expect.objectContaining({ partitionkey: 'krug-%F0%9F%8F%BA 1' }),
    ])
  })

  test('the size limit counts the event as it is published', () => {
    expect(() => publishAll([set('a', '"'.repeat(300))])).not.toThrow()
    expect(() => publishAll([set('a', '"'.repeat(500))])).toThrow('the limit is 1000')
  })
})
