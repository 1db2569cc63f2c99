// What Jaeger shows of a component: a real Jaeger, configured by the standard variables.
import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { OutputBindingClient } from '#protos/dapr/proto/components/v1/bindings.ts'
import { startServers, type Shop } from '../../../platform/start/shop.ts'
import { freePorts } from '../../../platform/free-ports.ts'
import { poll } from '../../../platform/poll.ts'
import { startComponentProcess, type ComponentProcess } from '../../../platform/testing/component-process.ts'
import { createClient } from '../component-client.ts'
import {
  createTopic,
  event,
  failure,
  mongodbUnderTest,
  mysqlUnderTest,
  openStore,
  type StoreClient,
  type TestDatabase,
  type TestTopic,
} from '../stores.ts'

type Span = {
  traceID: string
  spanID: string
  operationName: string
  processID: string
  references: { refType: string; traceID: string; spanID: string }[]
  tags: { key: string; value: unknown }[]
}

let jaeger: Shop
beforeAll(async () => {
  jaeger = await startServers(['jaeger'], { instance: 'test-tracing', portBase: 'free', fresh: true })
}, 600_000)
afterAll(() => jaeger.stop())

const newTraceparent = (sampled = true) =>
  `00-${randomBytes(16).toString('hex')}-${randomBytes(8).toString('hex')}-${sampled ? '01' : '00'}`
const traceOf = (traceparent: string) => traceparent.split('-')[1] ?? ''
const tagsOf = ({ tags }: Span) => Object.fromEntries(tags.map(({ key, value }) => [key, value]))

async function query(path: string): Promise<{ spans: Span[]; processes: Record<string, { serviceName: string }> }[]> {
  const response = await fetch(`http://127.0.0.1:${jaeger.ports.jaegerQuery}/api/${path}`)
  return response.ok
    ? ((await response.json()) as { data: { spans: Span[]; processes: Record<string, { serviceName: string }> }[] })
        .data
    : []
}

/** Waits for `count` spans of a trace and returns all of them. */
const spansOf = (traceparent: string, count: number) =>
  poll(
    'the trace',
    async () => {
      const [trace] = await query(`traces/${traceOf(traceparent)}`)
      return (
        trace &&
        trace.spans.length >= count &&
        trace.spans.map((span) => ({ ...span, service: trace.processes[span.processID]?.serviceName }))
      )
    },
    { timeoutMs: 20_000 },
  )

for (const store of [mysqlUnderTest(), mongodbUnderTest()]) {
  let component: ComponentProcess
  let database: TestDatabase
  let topic: TestTopic
  let client: StoreClient
  const table = store.type === 'outbox-mysql' ? 'state' : 'daprCollection'

  beforeAll(async () => {
    database = await store.createDatabase()
    topic = await createTopic(store.brokers)
    const variables = {
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${jaeger.ports.otlp}`,
      OTEL_BSP_SCHEDULE_DELAY: '100',
    }
    component = await startComponentProcess(store.type, undefined, { env: variables })
    client = openStore(component.socket)
    await client.init({ ...database.properties, relayBrokers: store.brokers, relayTopic: topic.name })
  }, 60_000)
  afterAll(async () => {
    client.close()
    await component.kill('SIGTERM')
    await topic.drop()
    await database.drop()
  }, 60_000)

  test(`state.${store.type}: calls join their callers' traces; a send has its own, with links to them`, async () => {
    const [one, other, unsampled] = [newTraceparent(), newTraceparent(), newTraceparent(false)]
    await Promise.all([
      client.transact([{ key: 'a', value: 1 }, event('traced-a', 1)], { traceparent: one }),
      client.transact([event('traced-b', 1)], { traceparent: other }),
      client.transact([event('traced-c', 1)], { traceparent: unsampled }),
      client.transact([event('traced-d', 1)]),
    ])
    const failed = newTraceparent()
    await failure(client.transact([event('traced-e', 1, { 'cloudevent.type': '' })], { traceparent: failed }))
    const lost = newTraceparent()
    await failure(client.set({ key: 'a', value: 2, etag: 'wrong', metadata: { traceparent: lost } }))

    const [transact] = await spansOf(one, 1)
    expect(transact).toMatchObject({
      operationName: `Transact ${table}`,
      service: `test-${store.type}`,
      references: [{ refType: 'CHILD_OF', traceID: traceOf(one), spanID: one.split('-')[2] }],
    })
    expect(tagsOf(transact!)).toMatchObject({
      'span.kind': 'client',
      'db.system.name': store.type === 'outbox-mysql' ? 'mysql' : 'mongodb',
      'db.namespace': database.name,
      'db.collection.name': table,
      'db.operation.name': 'Transact',
      'db.operation.batch.size': 2,
      'dapr.component': 'store',
    })
    const [refused] = await spansOf(failed, 1)
    expect(tagsOf(refused!)).toMatchObject({ 'error.type': 'EVENT_REFUSED', 'otel.status_code': 'ERROR', error: true })
    // A lost race is not an error.
    const [raced] = await spansOf(lost, 1)
    expect(raced?.operationName).toBe(`Set ${table}`)
    expect([tagsOf(raced!)['error.type'], tagsOf(raced!)['error']]).toEqual(['ETAG_MISMATCH', undefined])

    // The four events may be in one send or several. The two sampled ones are linked once each.
    const sends = await poll(
      'the sends',
      async () => {
        const found = (
          await query(
            `traces?service=test-${store.type}&operation=${encodeURIComponent(`send ${topic.name}`)}&limit=100`,
          )
        ).flatMap(({ spans }) => spans)
        return found.flatMap(({ references }) => references).length >= 2 && found
      },
      { timeoutMs: 20_000 },
    )
    expect(
      sends
        .flatMap(({ references }) =>
          references.map(({ refType, traceID, spanID }) => `${refType} ${traceID}-${spanID}`),
        )
        .toSorted(),
    ).toEqual([one, other].map((each) => `FOLLOWS_FROM ${each.slice(3, 52)}`).toSorted())
    for (const send of sends) {
      expect([one, other].map(traceOf)).not.toContain(send.traceID)
      expect(tagsOf(send)).toMatchObject({
        'span.kind': 'producer',
        'messaging.system': 'kafka',
        'messaging.operation.type': 'send',
        'messaging.destination.name': topic.name,
        'messaging.batch.message_count': expect.any(Number),
      })
    }
    // The event keeps its committer's traceparent unchanged.
    const published = ['traced-a', 'traced-b', 'traced-c', 'traced-d'].map((key) =>
      poll(key, () => topic.ofKey(key)[0]),
    )
    expect((await Promise.all(published)).map(({ event: { traceparent } }) => traceparent)).toEqual([
      one,
      other,
      unsampled,
      undefined,
    ])
  })

  test(`state.${store.type}: a call that works for several traces has a span in each`, async () => {
    const [whole, one, other] = [newTraceparent(), newTraceparent(), newTraceparent()]
    const elsewhere = await createTopic(store.brokers)
    try {
      await client.transact(
        [
          { key: 'd', value: 1, metadata: { traceparent: one } },
          event('traced-f', 1, { traceparent: one, relayTopic: elsewhere.name }),
          event('traced-g', 1, { traceparent: other }),
          event('traced-h', 1),
        ],
        { traceparent: whole },
      )
      for (const traceparent of [whole, one, other]) {
        const spans = await spansOf(traceparent, 1)
        expect(spans.map(({ operationName }) => operationName)).toEqual([`Transact ${table}`])
        expect(spans[0]?.references).toEqual([
          expect.objectContaining({ refType: 'CHILD_OF', spanID: traceparent.split('-')[2] }),
        ])
      }
      const published = await Promise.all([
        poll('f', () => elsewhere.ofKey('traced-f')[0]),
        poll('g', () => topic.ofKey('traced-g')[0]),
        poll('h', () => topic.ofKey('traced-h')[0]),
      ])
      expect(published.map((each) => each.event['traceparent'])).toEqual([one, other, whole])
    } finally {
      await elsewhere.drop()
    }
  })

  test(`state.${store.type}: a read without a trace starts none`, async () => {
    const asked = newTraceparent()
    await client.get('a')
    await client.bulkSet([
      { key: 'b', value: 1, metadata: { traceparent: asked } },
      { key: 'c', value: 1, metadata: { traceparent: asked } },
    ])
    await spansOf(asked, 1)
    const names = (await query(`services/test-${store.type}/operations`)) as unknown as string[]
    expect(names.toSorted()).toEqual(
      [`BulkSet ${table}`, `Set ${table}`, `Transact ${table}`, `send ${topic.name}`, 'send'].toSorted(),
    )
  })
}

test('an unavailable collector costs spans, but no call fails and shutdown is not delayed', async () => {
  const [port] = await freePorts(1)
  const component = await startComponentProcess('bindings-mongodb', undefined, {
    env: { OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}` },
  })
  const client = createClient(OutputBindingClient, component.socket, 'query')
  const database = await mongodbUnderTest().createDatabase()
  try {
    await client.call((c) => c.init, { metadata: { properties: { ...database.properties, collectionName: 'things' } } })
    await client.call((c) => c.invoke, {
      operation: 'count',
      data: Buffer.from('{"filter":{}}'),
      metadata: { traceparent: newTraceparent() },
    })
    const began = performance.now()
    await component.kill('SIGTERM')
    expect(performance.now() - began).toBeLessThan(4_000)
  } finally {
    client.close()
    await component.kill('SIGKILL')
    await database.drop()
  }
})

test('bindings.mongodb: a query joins the trace that daprd passes on', async () => {
  const database = await mongodbUnderTest().createDatabase()
  const component = await startComponentProcess('bindings-mongodb', undefined, {
    env: { OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${jaeger.ports.otlp}`, OTEL_BSP_SCHEDULE_DELAY: '100' },
  })
  const client = createClient(OutputBindingClient, component.socket, 'query')
  try {
    await client.call((c) => c.init, { metadata: { properties: { ...database.properties, collectionName: 'things' } } })
    const traceparent = newTraceparent()
    await client.call((c) => c.invoke, {
      operation: 'count',
      data: Buffer.from('{"filter":{}}'),
      metadata: { traceparent },
    })
    const [span] = await spansOf(traceparent, 1)
    expect([span?.operationName, span?.service]).toEqual(['count things', 'test-mongodb'])
  } finally {
    client.close()
    await component.kill('SIGTERM')
    await database.drop()
  }
})
