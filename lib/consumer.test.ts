import { Metadata } from '@grpc/grpc-js'
import { pino } from 'pino'
import { describe, expect, test } from 'vitest'
import * as z from 'zod'
import {
  TopicEventBulkRequest,
  TopicEventRequest,
  TopicEventResponse_TopicEventResponseStatus as statuses,
} from '#protos/dapr/proto/runtime/v1/appcallback.ts'
import type { Batches, Draft, NewEvent } from './batches.ts'
import { consume, discardedType, ignored, on, parkedType } from './consumer.ts'
import { AppError, rejected, unavailable } from './errors.ts'
import type { Call } from './grpc-server.ts'

const log = pino({ level: 'silent' })
const call: Call = { callerAppId: '', log, metadata: new Metadata() }

const schema = z.object({ n: z.number() })
const throws = (error: Error) =>
  on(schema, {
    keys: () => [],
    decide: () => {
      throw error
    },
  })
/** Decides at once, over values in memory. Batches themselves have tests of their own. */
function memoryBatches() {
  const values = new Map<string, unknown>()
  const published: NewEvent[] = []
  const batches: Batches = {
    async commit(work) {
      const draft: Draft = {
        get: (key, of) => (values.has(key) ? of.parse(values.get(key)) : undefined),
        put: (key, value) => values.set(key, value),
        delete: (key) => values.delete(key),
        publish: (event) => published.push(event),
        tell: () => {},
      }
      return work.decide(draft)
    },
  }
  return { batches, values, published }
}
const { batches } = memoryBatches()
const { handlers } = consume(
  { name: 'app', log, batches },
  {
    handled: on(schema, { keys: () => [], decide: () => ignored }),
    hopeless: on(schema, { keys: () => [], decide: () => ({ outcome: 'impossible', reason: 'r' }) }),
    away: throws(unavailable('store_unavailable', 'away')),
    contended: throws(new AppError('conflict', 'etag_mismatch', 'changed')),
    refused: throws(rejected('event_too_large', 'too large')),
    mistaken: throws(new TypeError('a mistake')),
  },
)
const deliver = (type: string, data = '{"n":1}') =>
  handlers['onTopicEvent']!(TopicEventRequest.fromPartial({ type, data: Buffer.from(data) }) as never, call)

test.each([
  ['its handler is done', 'handled', statuses.SUCCESS],
  ['no handler has its type', 'other', statuses.SUCCESS],
  ['what it needs is away', 'away', statuses.RETRY],
  ['others kept getting in between', 'contended', statuses.RETRY],
  ['it is impossible', 'hopeless', statuses.DROP],
  ['what it leads to is refused', 'refused', statuses.DROP],
  ['its handler throws', 'mistaken', statuses.DROP],
])('an event when %s', async (_, type, status) => {
  expect(await deliver(type)).toEqual({ status })
})

test.each(['nonsense', '', '{"n":"1"}', '[]'])('an event whose data is %j is dropped', async (data) => {
  expect(await deliver('handled', data)).toEqual({ status: statuses.DROP })
})

test('a handler gets the parsed event with its CloudEvents attributes', async () => {
  const seen: unknown[] = []
  const t = on(schema, {
    keys: () => [],
    decide(event) {
      seen.push(event)
      return ignored
    },
  })
  const { handlers } = consume({ name: 'app', log, batches }, { t })
  const extensions = { subject: 's', sequence: '7', time: '2026-01-02T03:04:05Z' }
  const request = { id: 'e', type: 't', topic: 'top', data: Buffer.from('{"n":1,"more":2}'), extensions }
  await handlers['onTopicEvent']!(TopicEventRequest.fromPartial(request) as never, call)
  expect(seen).toEqual([
    { id: 'e', type: 't', topic: 'top', subject: 's', sequence: 7, time: '2026-01-02T03:04:05Z', data: { n: 1 } },
  ])
})

describe('events in bulk', () => {
  const entry = (entryId: string, type: string) => ({
    entryId,
    event: {
      $case: 'cloudEvent' as const,
      value: { id: entryId, type, data: Buffer.from('{"n":1}'), extensions: { partitionkey: type } },
    },
  })
  test('each have their own status', async () => {
    const request = TopicEventBulkRequest.fromPartial({
      entries: [entry('1', 'handled'), entry('2', 'away'), entry('3', 'hopeless'), { entryId: '4' }],
    })
    expect(await handlers['onBulkTopicEvent']!(request as never, call)).toEqual({
      statuses: [
        { entryId: '1', status: statuses.SUCCESS },
        { entryId: '2', status: statuses.RETRY },
        { entryId: '3', status: statuses.DROP },
        { entryId: '4', status: statuses.DROP },
      ],
    })
  })
})

describe('an event whose handler fails', () => {
  /** A consumer whose handler fails for the events in `broken`. */
  function consumer() {
    const broken = new Set<string>()
    const handled: string[] = []
    const { batches, published } = memoryBatches()
    const t = on(schema, {
      keys: () => [],
      decide({ id }) {
        if (broken.has(id)) throw new TypeError('a mistake')
        handled.push(id)
        return ignored
      },
    })
    const { handlers } = consume({ name: 'app', log, batches }, { t })
    const deliver = async (id: string, { key = 'k', type = 't', subject = '', replayfor = '' } = {}) => {
      const extensions = { partitionkey: key, subject, ...(replayfor && { replayfor }) }
      const request = { id, type, topic: 'things', data: Buffer.from('{"n":1}'), extensions }
      const answer = await handlers['onTopicEvent']!(TopicEventRequest.fromPartial(request) as never, call)
      return (answer as { status: number }).status
    }
    const replay = (id: string) => deliver(id, { replayfor: 'app' })
    return { broken, handled, published, deliver, replay }
  }

  test('is parked, and so are all later ones of its key; other keys go on', async () => {
    const { broken, handled, published, deliver } = consumer()
    broken.add('1')
    expect(await deliver('1')).toBe(statuses.DROP)
    broken.clear()
    expect([await deliver('2'), await deliver('3', { key: 'other' })]).toEqual([statuses.DROP, statuses.SUCCESS])
    expect(handled).toEqual(['3'])
    expect(published).toMatchObject([
      {
        type: parkedType,
        topic: 'app.dlq',
        key: 'k',
        subject: '1',
        data: { eventId: '1', topic: 'things', reason: 'TypeError: a mistake', attempt: 1 },
      },
    ])
  })

  test('is handled when it comes again for this app, and those behind it after it, in order', async () => {
    const { broken, handled, deliver, replay } = consumer()
    broken.add('1')
    for (const id of ['1', '2', '3']) await deliver(id)
    broken.clear()
    expect(await replay('2')).toBe(statuses.DROP)
    expect([await replay('1'), await replay('2')]).toEqual([statuses.SUCCESS, statuses.SUCCESS])
    expect(await deliver('4')).toBe(statuses.DROP)
    expect([await replay('3'), await replay('4'), await deliver('5')]).toEqual(Array(3).fill(statuses.SUCCESS))
    expect(handled).toEqual(['1', '2', '3', '4', '5'])
  })

  test('and fails again: stays the first, and tells how often', async () => {
    const { broken, handled, published, deliver, replay } = consumer()
    broken.add('1')
    for (const id of ['1', '2']) await deliver(id)
    expect(await replay('1')).toBe(statuses.DROP)
    expect(published.map(({ data }) => (data as { attempt: number }).attempt)).toEqual([1, 2])
    expect(await replay('2')).toBe(statuses.DROP)
    expect(handled).toEqual([])
  })

  test('is forgotten when it is discarded', async () => {
    const { broken, handled, deliver, replay } = consumer()
    broken.add('1')
    for (const id of ['1', '2']) await deliver(id)
    await deliver('x', { type: discardedType, subject: '1', replayfor: 'app' })
    expect([await replay('2'), await deliver('3')]).toEqual(Array(2).fill(statuses.SUCCESS))
    expect(handled).toEqual(['2', '3'])
  })

  test('and comes again for another app: is ignored', async () => {
    const { handled, deliver } = consumer()
    expect(await deliver('1', { replayfor: 'other' })).toBe(statuses.SUCCESS)
    expect(handled).toEqual([])
  })
})

test('an event that was dropped and comes again for this app is handled', async () => {
  const { batches } = memoryBatches()
  const seen: string[] = []
  const t = on(schema, { keys: () => [], decide: ({ id }) => (seen.push(id), ignored) })
  const { handlers } = consume({ name: 'app', log, batches }, { t })
  const extensions = { partitionkey: 'k', replayfor: 'app' }
  const request = { id: '1', type: 't', data: Buffer.from('{"n":1}'), extensions }
  await handlers['onTopicEvent']!(TopicEventRequest.fromPartial(request) as never, call)
  expect(seen).toEqual(['1'])
})
