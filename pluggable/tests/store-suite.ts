import type { ServiceError } from '@grpc/grpc-js'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { BadRequest } from '#protos/google/rpc/error_details.ts'
import { Status } from '#protos/google/rpc/status.ts'
import { poll } from '../../platform/poll.ts'
import { startKafkaProxy } from '../../platform/testing/tcp-proxy.ts'
import { startComponentProcess, type ComponentProcess } from '../../platform/testing/component-process.ts'
import {
  createTopic,
  event,
  failure,
  openStore,
  type StoreClient,
  type StoreUnderTest,
  type TestDatabase,
  type TestTopic,
} from './stores.ts'

/** Tests what every outbox state store must do, through its socket. */
export function describeStore(store: StoreUnderTest, variant = ''): void {
  describe(`state.${store.type}${variant}`, () => {
    let database: TestDatabase
    let component: ComponentProcess
    let client: StoreClient
    let topic: TestTopic

    const withRelay = (properties: Record<string, string>, relayTopic: string, relayBrokers = store.brokers) => ({
      ...properties,
      relayBrokers,
      relayTopic,
    })

    beforeAll(async () => {
      ;[database, component, topic] = await Promise.all([
        store.createDatabase(),
        startComponentProcess(store.type),
        createTopic(store.brokers),
      ])
      client = openStore(component.socket)
      await client.init(withRelay(database.properties, topic.name))
    }, 60_000)

    afterAll(async () => {
      client.close()
      await component.kill('SIGTERM')
      await topic.drop()
      await database.drop()
    }, 60_000)

    test('values of every kind are returned byte for byte', async () => {
      const values = {
        object: Buffer.from('{"a":{"b":[1,2.5,null,true]},"text":"ä\\u0000\\"😀","$set":1,"c.d":"$e","":{}}'),
        array: Buffer.from('[1,{"a":2}]'),
        string: Buffer.from('"text"'),
        number: Buffer.from('42'),
        bigNumber: Buffer.from('{"id":12345678901234567890}'),
        null: Buffer.from('null'),
        text: Buffer.from('not json'),
        binary: Buffer.from([0, 255, 254, 1]),
        deep: Buffer.from('['.repeat(200) + ']'.repeat(200)),
        large: Buffer.from(JSON.stringify({ text: 'x'.repeat(1024 * 1024) })),
      }
      const changed: string[] = []
      for (const [name, value] of Object.entries(values)) {
        await client.set({ key: `kind-${name}`, value })
        const { data } = await client.get(`kind-${name}`)
        if (!Buffer.from(data).equals(value)) changed.push(name)
      }
      expect(changed).toEqual([])
    })

    test('keys differ by case, accents and spaces', async () => {
      const keys = ['Key', 'key', 'kéy', 'key ', 'k'.repeat(512)]
      for (const key of keys) await client.set({ key, value: { key } })
      for (const key of keys) expect(await client.json(key)).toEqual({ key })
    })

    test('a missing key has no data and no etag', async () => {
      const { data, etag } = await client.get('nothing')
      expect([data.length, etag]).toEqual([0, undefined])
      await client.delete('nothing')
    })

    test('an etag lets one writer through, and the refusal has the details that Dapr expects', async () => {
      await client.set({ key: 'e', value: 1 })
      const etag = await client.etag('e')
      await client.set({ key: 'e', value: 2, etag: etag ?? '' })
      const error = await failure(client.set({ key: 'e', value: 3, etag: etag ?? '' }))
      expect(error.code).toBe(9)
      const [rich] = error.metadata.get('grpc-status-details-bin')
      const detail = Status.decode(rich as Buffer).details[0]
      expect(detail?.typeUrl).toBe('type.googleapis.com/google.rpc.BadRequest')
      expect(BadRequest.decode(detail?.value ?? new Uint8Array()).fieldViolations.map(({ field }) => field)).toEqual([
        'etag',
      ])
      expect((await failure(client.delete('e', etag))).code).toBe(9)
      await client.delete('e', await client.etag('e'))
      expect((await failure(client.set({ key: 'e', value: 4, etag: etag ?? '' }))).code).toBe(9)
    })

    test('first-write without an etag only inserts', async () => {
      await client.set({ key: 'f', value: 1, firstWrite: true })
      expect((await failure(client.set({ key: 'f', value: 2, firstWrite: true }))).details).toContain('ETAG_MISMATCH')
      expect(await client.json('f')).toBe(1)
    })

    test('exactly one of many first writers wins', async () => {
      const attempts = await Promise.allSettled(
        Array.from({ length: 12 }, (_, value) => client.set({ key: 'race', value, firstWrite: true })),
      )
      expect(attempts.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    })

    test('an expired value is gone, and first-write succeeds', async () => {
      // MySQL counts whole seconds, so one second may be over at once.
      await client.set({ key: 't', value: 1, metadata: { ttlInSeconds: '2' } })
      expect((await client.get('t')).metadata['ttlExpireTime']).toMatch(/^\d{4}-\d\d-\d\dT[\d:]+Z$/)
      await poll('expiry', async () => (await client.json('t')) === undefined)
      await client.set({ key: 't', value: 2, firstWrite: true })
      expect(await client.json('t')).toBe(2)
      await client.set({ key: 't', value: 3, metadata: { ttlInSeconds: '100' } })
      await client.set({ key: 't', value: 4 })
      expect((await client.get('t')).metadata).toEqual({})
      expect((await failure(client.set({ key: 't', value: 5, metadata: { ttlInSeconds: 'soon' } }))).code).toBe(3)
    })

    test('get and bulk get return the expiry; transactions set it too; -1 or a write without removes it', async () => {
      const hour = { ttlInSeconds: '3600' }
      await client.set({ key: 'ttl-set', value: 1, metadata: hour })
      await client.transact([{ key: 'ttl-transact', value: 1, metadata: hour }])
      await client.set({ key: 'ttl-none', value: 1 })
      const { items } = await client.bulkGet(['ttl-set', 'ttl-transact', 'ttl-none'])
      const expiries = [(await client.get('ttl-set')).metadata, ...items.map(({ metadata }) => metadata)].map(
        ({ ttlExpireTime }) => ttlExpireTime,
      )
      const minutes = expiries.map((time) =>
        time === undefined ? undefined : Math.round((Date.parse(time) - Date.now()) / 60_000),
      )
      expect(minutes).toEqual([60, 60, 60, undefined])

      await client.set({ key: 'ttl-set', value: 2, metadata: { ttlInSeconds: '-1' } })
      await client.transact([{ key: 'ttl-transact', value: 2 }])
      expect([(await client.get('ttl-set')).metadata, (await client.get('ttl-transact')).metadata]).toEqual([{}, {}])
    })

    test('the etag of an expired value lets no writer through', async () => {
      await client.set({ key: 'gone', value: 1, metadata: { ttlInSeconds: '2' } })
      const etag = (await client.etag('gone')) ?? ''
      await poll('expiry', async () => (await client.json('gone')) === undefined)
      expect((await failure(client.set({ key: 'gone', value: 2, etag }))).code).toBe(9)
      expect((await failure(client.delete('gone', etag))).code).toBe(9)
    })

    test('a bulk write does what it can and names each key with a wrong etag', async () => {
      await client.bulkSet(['n1', 'n2', 'n3'].map((key) => ({ key, value: 1 })))
      const error = await failure(
        client.bulkSet([
          { key: 'n1', value: 2, etag: 'wrong' },
          { key: 'n2', value: 2 },
          { key: 'n3', value: 2, firstWrite: true },
        ]),
      )
      expect([error.code, error.details]).toEqual([
        9,
        expect.stringMatching(/^ETAG_MISMATCH: key "app\|\|n1" .*; key "app\|\|n3" /),
      ])
      expect([await client.json('n1'), await client.json('n2'), await client.json('n3')]).toEqual([1, 2, 1])
    })

    test('bulk calls', async () => {
      await client.bulkSet([
        { key: 'b1', value: 1 },
        { key: 'b2', value: 2 },
      ])
      const { items } = await client.bulkGet(['b2', 'absent', 'b1'])
      expect(items.map((item) => [item.key, Buffer.from(item.data).toString()])).toEqual([
        ['app||b2', '2'],
        ['app||absent', ''],
        ['app||b1', '1'],
      ])
      await client.bulkDelete(['b1', 'b2'])
      expect(await client.json('b1')).toBeUndefined()
    })

    test('a transaction is all or nothing, including its event', async () => {
      await client.set({ key: 'x1', value: 1 })
      const error = await failure(
        client.transact([
          { key: 'x2', value: 1 },
          event('x2', { n: 1 }),
          { delete: 'x1' },
          { key: 'x3', value: 1, etag: 'wrong' },
        ]),
      )
      expect(error.details).toMatch(/^ETAG_MISMATCH: .*x3/)
      expect([await client.json('x1'), await client.json('x2')]).toEqual([1, undefined])

      await client.transact([
        { key: 'x2', value: 1 },
        event('x2', { n: 2 }),
        { delete: 'x1' },
        { key: 'x3', value: 1, firstWrite: true },
      ])
      expect([await client.json('x1'), await client.json('x2'), await client.json('x3')]).toEqual([undefined, 1, 1])
      const [only, ...rest] = await poll('event', () => topic.ofKey('x2').length > 0 && topic.ofKey('x2'))
      expect([only?.event['data'], only?.event['sequence'], rest]).toEqual([{ n: 2 }, '1', []])
    })

    test('operations on one key keep their order within a transaction', async () => {
      await client.transact([
        { key: 'o', value: 1 },
        { delete: 'o' },
        { key: 'o', value: 2, firstWrite: true },
        { key: 'a', value: 0 },
      ])
      expect(await client.json('o')).toBe(2)
    })

    test('the envelope carries the metadata of the transaction', async () => {
      const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
      await client.transact(
        [
          event(
            'order:{u-1}:o-1',
            { amount: 1.5, id: 'ü' },
            { partitionKey: 'o-1', 'cloudevent.id': 'e-1', 'cloudevent.subject': 's' },
          ),
        ],
        { traceparent },
      )
      const [published] = await poll('event', () => topic.ofKey('o-1').length > 0 && topic.ofKey('o-1'))
      expect(published?.event).toMatchObject({
        specversion: '1.0',
        id: 'e-1',
        source: 'app',
        type: 'test.happened.v1',
        subject: 's',
        datacontenttype: 'application/json',
        traceparent,
        sequence: '1',
        partitionkey: 'o-1',
        data: { amount: 1.5, id: 'ü' },
      })
      expect(await client.json('order:{u-1}:o-1')).toBeUndefined()
    })

    test('an event that can never be published is refused before anything is written', async () => {
      const large = await failure(client.transact([{ key: 'l', value: 1 }, event('l', 'x'.repeat(1_000_000))]))
      expect(large.details).toMatch(/^EVENT_TOO_LARGE: /)
      const untyped = await failure(client.transact([event('l', 1, { 'cloudevent.type': '' })]))
      expect(untyped.details).toMatch(/^EVENT_REFUSED: /)
      expect(await client.json('l')).toBeUndefined()
    })

    test('numbers have no gaps and Kafka keeps their order, with 8 writers per key', async () => {
      const keys = ['k1', 'k2', 'k3']
      const perWriter = 10
      await Promise.all(
        keys.flatMap((key) =>
          Array.from({ length: 8 }, async (_, writer) => {
            for (let n = 0; n < perWriter; n += 1) {
              const spoiled = n === 5 ? [{ key: `spoil-${key}`, value: 1, etag: 'wrong' }] : []
              await client
                .transact([
                  { key: `${key}-${writer}`, value: n },
                  event(key, { writer, n }, { partitionKey: key }),
                  ...spoiled,
                ])
                .catch((error: ServiceError) => {
                  if (spoiled.length === 0 || !error.details.startsWith('ETAG_MISMATCH')) throw error
                })
            }
          }),
        ),
      )
      const expected = Array.from({ length: 8 * (perWriter - 1) }, (_, n) => String(n + 1))
      for (const key of keys) {
        await poll(`events of ${key}`, () => topic.ofKey(key).length >= expected.length)
        const events = topic.ofKey(key)
        expect(events.map((each) => each.event['sequence'])).toEqual(expected)
        expect(new Set(events.map((each) => each.partition)).size).toBe(1)
        for (let writer = 0; writer < 8; writer += 1) {
          const own = events
            .map((each) => each.event['data'] as { writer: number; n: number })
            .filter((data) => data.writer === writer)
          expect(own.map(({ n }) => n)).toEqual([0, 1, 2, 3, 4, 6, 7, 8, 9])
        }
      }
    }, 60_000)

    test('transactions that touch the same keys in opposite orders all succeed', async () => {
      await Promise.all(
        Array.from({ length: 30 }, async (_, n) => {
          const keys = n % 2 === 0 ? ['d1', 'd2', 'd3'] : ['d3', 'd2', 'd1']
          await client.transact(keys.flatMap((key) => [{ key, value: n }, event(key, { n })]))
        }),
      )
      for (const key of ['d1', 'd2', 'd3']) await poll(key, () => topic.ofKey(key).length === 30)
    }, 30_000)

    test('without brokers it is a plain store that refuses events', async () => {
      const plain = openStore(component.socket, 'plain')
      const own = await store.createDatabase()
      try {
        await plain.init(own.properties)
        await plain.transact([{ key: 'p', value: 1 }])
        expect((await failure(plain.transact([event('p', 1)]))).details).toMatch(/^EVENT_REFUSED: .*relayBrokers/)
        await plain.init(own.properties)
        expect(await plain.json('p')).toBe(1)
      } finally {
        plain.close()
        await own.drop()
      }
    }, 20_000)

    test('Init fails on a wrong setting and names it', async () => {
      const other = openStore(component.socket, 'other')
      const error = await failure(other.init({ ...database.properties, maxEventBytes: 'many' }))
      expect(error.details).toMatch(/^INVALID_SETTING: .*maxEventBytes/)
      expect((await failure(other.get('a'))).details).toMatch(/^NOT_INITIALISED/)
      other.close()
    })

    test('Init fails with UNAVAILABLE before daprd gives up when the database is down', async () => {
      const other = openStore(component.socket, 'down')
      const began = Date.now()
      const error = await failure(
        other.init({
          ...database.properties,
          connectionString: (database.properties['connectionString'] ?? '').replace(/:\d+\//, ':1/'),
        }),
      )
      expect([error.code, Date.now() - began < 5_000]).toEqual([14, true])
      other.close()
    })

    test('after a kill and a restart without Init it relays the rest; repeats have the same bytes', async () => {
      for (let n = 0; n < 20; n += 1) await client.transact([event('killed', { n })])
      const unanswered = Promise.allSettled(
        Array.from({ length: 20 }, (_, n) => client.transact([event('killed', { n: 20 + n })])),
      )
      await component.kill('SIGKILL')
      await unanswered
      component = await startComponentProcess(store.type, component.folder)
      client.close()
      client = openStore(component.socket)
      await poll('the store works again', async () => (await client.get('killed').catch(() => undefined)) !== undefined)
      await client.transact([event('killed', { last: true })])
      const bySequence = await poll(
        'the last event',
        () => {
          const all = Map.groupBy(topic.ofKey('killed'), (each) => Number(each.event['sequence']))
          return (
            [...all.values()].some(([first]) => (first?.event['data'] as { last?: boolean } | undefined)?.last) && all
          )
        },
        { timeoutMs: 20_000 },
      )
      expect([...bySequence.keys()].toSorted((a, b) => a - b)).toEqual(
        Array.from({ length: bySequence.size }, (_, n) => n + 1),
      )
      expect(bySequence.size).toBeGreaterThan(20)
      for (const repeats of bySequence.values()) expect(new Set(repeats.map(({ bytes }) => bytes)).size).toBe(1)
      const firsts = [...new Map(topic.ofKey('killed').map((each) => [each.event['sequence'], 0])).keys()].map(Number)
      expect(firsts).toEqual(firsts.toSorted((a, b) => a - b))
    }, 60_000)

    test('of two components on one outbox one leads and publishes, and the other takes over', async () => {
      const own = await store.createDatabase()
      const target = await createTopic(store.brokers)
      const properties = withRelay(own.properties, target.name)
      const [first, second] = await Promise.all([startComponentProcess(store.type), startComponentProcess(store.type)])
      const [one, two] = [openStore(first.socket), openStore(second.socket)]
      try {
        await Promise.all([one.init(properties), two.init(properties)])
        await Promise.all(
          Array.from({ length: 40 }, (_, n) => (n % 2 === 0 ? one : two).transact([event(`s${n % 4}`, { n })])),
        )
        // Including deletion: a leader killed between publishing and deleting leaves rows that its
        // heir has to repeat.
        await poll('all events', async () => target.published.length >= 40 && (await own.waiting()) === 0)
        const leads = (component: ComponentProcess) => component.output().includes('relay leads')
        expect([leads(first), leads(second)].filter(Boolean)).toHaveLength(1)
        const [leader, heir, caller] = leads(first) ? [first, second, two] : [second, first, one]
        await leader.kill('SIGKILL')
        await poll('take-over', () => leads(heir), { timeoutMs: 5_000 })
        await caller.transact([event('s0', { after: true })])
        await poll('the heir relays', () => target.published.length > 40)
        expect(new Set(target.published.map((each) => each.event['id'])).size).toBe(target.published.length)
        await heir.kill('SIGTERM')
      } finally {
        one.close()
        two.close()
        await Promise.all([first.kill('SIGKILL'), second.kill('SIGKILL')])
        await Promise.all([own.drop(), target.drop()])
      }
    }, 60_000)

    test('while Kafka is down commits succeed, and afterwards everything drains in order', async () => {
      const own = await store.createDatabase()
      const target = await createTopic(store.brokers)
      const kafka = await startKafkaProxy(store.brokers.split(',')[0] ?? '', { listening: false })
      const instance = openStore(component.socket, 'kafka-down')
      try {
        await instance.init(withRelay(own.properties, target.name, `127.0.0.1:${kafka.port}`))
        for (let n = 0; n < 30; n += 1) await instance.transact([{ key: `w${n}`, value: n }, event(`w${n % 3}`, { n })])
        expect(await own.waiting()).toBe(30)
        await kafka.restore()
        await poll('drained', async () => target.published.length >= 30 && (await own.waiting()) === 0, {
          timeoutMs: 20_000,
        })
        for (const key of ['w0', 'w1', 'w2']) {
          const order = [...new Set(target.ofKey(key).map((each) => each.event['sequence']))]
          expect(order).toEqual(Array.from({ length: 10 }, (_, n) => String(n + 1)))
        }
        // A second Init stops the first one's relay, so this database can be dropped.
        await instance.init(database.properties)
      } finally {
        instance.close()
        await kafka.close()
        await Promise.all([own.drop(), target.drop()])
      }
    }, 60_000)
  })
}
