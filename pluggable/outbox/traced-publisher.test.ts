import { expect, test } from 'vitest'
import { sampledContext, startTracing } from '../host/tracing.ts'
import { splitEvents } from './event.ts'
import { traceparentOf } from './traced-publisher.ts'

const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'

/** An event's bytes as the store commits them. */
function payload(
  data: string,
  transaction: Record<string, string>,
  { subject = 's', ...own }: Record<string, string> = {},
): Buffer {
  const metadata = {
    ...own,
    'outbox.projection': 'true',
    'cloudevent.type': 'a.b.v1',
    'cloudevent.subject': subject,
    partitionKey: 'k',
  }
  const operation = { kind: 'set' as const, key: 'app||k', value: Buffer.from(data), firstWrite: false, metadata }
  const { events } = splitEvents([operation], transaction, {
    publish: 'projections',
    maxEventBytes: 10_000,
    now: () => new Date(),
  })
  return Buffer.from(events[0]?.encode(1) ?? '')
}

test("an event's traceparent is found without parsing it", () => {
  expect(traceparentOf(payload('{"n":1}', { traceparent }))).toBe(traceparent)
  expect(traceparentOf(payload('{"n":1}', { traceparent: 'another' }, { traceparent }))).toBe(traceparent)
})

test('an event without a traceparent has none, whatever its subject and data look like', () => {
  const lookalike = `,"traceparent":"${traceparent}","partitionkey":"k"`
  expect(traceparentOf(payload(`{"n":1${lookalike}}`, {}, { subject: lookalike }))).toBeUndefined()
})

test('only a valid traceparent of a sampled trace is a parent', () => {
  expect(sampledContext(traceparent)).toMatchObject({
    traceId: '0af7651916cd43dd8448eb211c80319c',
    spanId: 'b7ad6b7169203331',
  })
  const others = [
    undefined,
    '',
    'mine',
    traceparent.replace(/01$/, '00'),
    `00-${'0'.repeat(32)}-b7ad6b7169203331-01`,
    traceparent.replace(/^00/, 'ff'),
  ]
  expect(others.map((each) => sampledContext(each))).toEqual(others.map(() => undefined))
})

test('without an endpoint there is no tracing', async () => {
  expect(await startTracing('test', undefined)).toBeUndefined()
})
