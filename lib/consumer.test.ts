import { Metadata } from '@grpc/grpc-js'
import { pino } from 'pino'
import { expect, test } from 'vitest'
import * as z from 'zod'
import {
  TopicEventRequest,
  TopicEventResponse_TopicEventResponseStatus as statuses,
} from '#protos/dapr/proto/runtime/v1/appcallback.ts'
import { consume, on } from './consumer.ts'
import type { Call } from './grpc-server.ts'

const log = pino({ level: 'silent' })
const call: Call = { callerAppId: '', log, metadata: new Metadata() }

const schema = z.object({ n: z.number() })
const { handlers } = consume(log, {
  handled: on(schema, async () => 'success'),
  early: on(schema, async () => 'retry'),
  hopeless: on(schema, async () => 'drop'),
  failing: on(schema, async () => {
    throw new TypeError('a bug, or something it needed is unavailable')
  }),
})
const deliver = (type: string, data = '{"n":1}') =>
  handlers['onTopicEvent']!(TopicEventRequest.fromPartial({ type, data: Buffer.from(data) }) as never, call)

test.each([
  ['its handler returns success', 'handled', statuses.SUCCESS],
  ['no handler has its type', 'other', statuses.SUCCESS],
  ['its handler returns retry', 'early', statuses.RETRY],
  ['its handler throws', 'failing', statuses.RETRY],
  ['its handler returns drop', 'hopeless', statuses.DROP],
])('an event when %s', async (_, type, status) => {
  expect(await deliver(type)).toEqual({ status })
})

test.each(['nonsense', '', '{"n":"1"}', '[]'])('an event whose data is %j is dropped', async (data) => {
  expect(await deliver('handled', data)).toEqual({ status: statuses.DROP })
})

test('a handler gets the parsed event with its CloudEvents attributes', async () => {
  const seen: unknown[] = []
  const { handlers } = consume(log, {
    t: on(schema, async (event) => {
      seen.push(event)
      return 'success'
    }),
  })
  const extensions = { subject: 's', sequence: '7', time: '2026-01-02T03:04:05Z' }
  const request = { id: 'e', type: 't', data: Buffer.from('{"n":1,"more":2}'), extensions }
  await handlers['onTopicEvent']!(TopicEventRequest.fromPartial(request) as never, call)
  expect(seen).toEqual([
    { id: 'e', type: 't', subject: 's', sequence: 7, time: '2026-01-02T03:04:05Z', data: { n: 1 } },
  ])
})
