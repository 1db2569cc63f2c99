import { rmSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { poll } from '../../../platform/poll.ts'
import { startComponentProcess, type ComponentProcess } from '../../../platform/testing/component-process.ts'
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

// Keys, values and transactions at their limits, through every kind of call. store-suite.ts covers
// the calls one by one.

const mebibyte = 1024 * 1024
const values: Record<string, Buffer> = {
  'a mebibyte of text': Buffer.from(JSON.stringify('x'.repeat(mebibyte - 2))),
  'a mebibyte of bytes': Buffer.from(Array.from({ length: mebibyte }, (_, n) => (n * 31) % 256)),
  unicode: Buffer.from(JSON.stringify({ ключ: '値 ü é e\u0301 😀 \u0000 \u2028' })),
  nothing: Buffer.alloc(0),
  'one byte': Buffer.from([0]),
}

/** 512 bytes each, different only in the last. */
const longKeys = ['1', '2', '3'].map((last) => `${'ключ'.repeat(63)}seventy${last}`)

describe.each([mysqlUnderTest(), mongodbUnderTest()])('state.$type', (store) => {
  let database: TestDatabase
  let topic: TestTopic
  let components: [ComponentProcess, ComponentProcess]
  let first: StoreClient
  let second: StoreClient
  const maxEventBytes = 5_000
  beforeAll(async () => {
    ;[database, topic, components] = await Promise.all([
      store.createDatabase(),
      createTopic(store.brokers),
      Promise.all([startComponentProcess(store.type), startComponentProcess(store.type)]),
    ])
    ;[first, second] = components.map(({ socket }) => openStore(socket)) as [StoreClient, StoreClient]
    const properties = {
      ...database.properties,
      relayBrokers: store.brokers,
      relayTopic: topic.name,
      maxEventBytes: String(maxEventBytes),
    }
    for (const client of [first, second]) await client.init(properties)
  }, 60_000)
  afterAll(async () => {
    for (const client of [first, second]) client?.close()
    for (const { folder, kill } of components ?? []) {
      await kill('SIGTERM')
      rmSync(folder, { recursive: true, force: true })
    }
    await Promise.all([database?.drop(), topic?.drop()])
  }, 60_000)

  const read = async (keys: string[]) => {
    const single = await Promise.all(keys.map(async (key) => Buffer.from((await first.get(key)).data)))
    const { items } = await first.bulkGet(keys)
    return [single, items.map(({ data }) => Buffer.from(data))]
  }
  const same = (found: Buffer[][], expected: Buffer[]) =>
    found.map((buffers) => buffers.map((buffer, n) => buffer.equals(expected[n] ?? Buffer.from('?'))))

  test('values at the limits survive single writes, bulk writes and transactions, get and bulk get', async () => {
    expect(longKeys.map((key) => Buffer.byteLength(key))).toEqual([512, 512, 512])
    const names = Object.keys(values)
    const expected = Object.values(values)
    const all = expected.map(() => true)
    const writes = (kind: string) => names.map((name) => ({ key: `${kind} ${name}`, value: values[name] }))
    const keys = (kind: string) => writes(kind).map(({ key }) => key)

    for (const write of writes('set')) await first.set(write)
    expect(same(await read(keys('set')), expected)).toEqual([all, all])
    await first.bulkSet(writes('bulk'))
    expect(same(await read(keys('bulk')), expected)).toEqual([all, all])
    await first.transact(writes('transaction'))
    expect(same(await read(keys('transaction')), expected)).toEqual([all, all])
  }, 60_000)

  test('an empty value exists: it has an etag, and first-write finds it', async () => {
    await first.set({ key: 'empty', value: Buffer.alloc(0) })
    expect(await first.etag('empty')).toBeTruthy()
    expect((await failure(first.set({ key: 'empty', value: 1, firstWrite: true }))).details).toMatch(/^ETAG_MISMATCH/)
  })

  test('keys of 512 bytes work in every call', async () => {
    const [a = '', b = '', c = ''] = longKeys
    const stored = async () => Promise.all(longKeys.map((key) => first.json(key)))
    await first.set({ key: a, value: 1 })
    await first.bulkSet([
      { key: b, value: 2 },
      { key: c, value: 3 },
    ])
    expect(await stored()).toEqual([1, 2, 3])
    await first.transact([
      { key: a, value: 4 },
      { delete: b, etag: (await first.etag(b)) ?? '' },
      { key: c, value: 5, etag: (await first.etag(c)) ?? '' },
    ])
    expect(await stored()).toEqual([4, undefined, 5])
    await first.delete(a)
    await first.bulkDelete([b, c])
    expect(await stored()).toEqual([undefined, undefined, undefined])
    // An equally long Kafka key, in ASCII.
    const partitionKey = 'p'.repeat(512)
    await first.transact([event('anything', 1, { partitionKey })])
    await poll('the event', () => topic.ofKey(partitionKey).length === 1)
  })

  test('100 operations in a transaction: all with their events in order, or none', async () => {
    const writes = Array.from({ length: 50 }, (_, n) => ({ key: `many-${n}`, value: n }))
    const events = (round: number) => Array.from({ length: 50 }, (_, n) => event(`many-${n % 3}`, { round, n }))
    await first.transact([...writes, ...events(1)])
    const last = { key: 'many-49', value: 0, etag: 'wrong' }
    expect(
      (
        await failure(
          first.transact([...writes.slice(0, 49).map((write) => ({ ...write, value: -1 })), last, ...events(2)]),
        )
      ).details,
    ).toMatch(/^ETAG_MISMATCH/)
    expect(
      (await first.bulkGet(writes.map(({ key }) => key))).items.map(({ data }) => Number(Buffer.from(data).toString())),
    ).toEqual(writes.map(({ value }) => value))
    await first.transact(events(3))
    for (const key of [0, 1, 2]) {
      const own = (round: number) => events(round).flatMap((_, n) => (n % 3 === key ? [{ round, n }] : []))
      const data = await poll('events', () => {
        const found = topic.ofKey(`many-${key}`)
        return found.length >= 2 * own(1).length && found.map((each) => each.event['data'])
      })
      expect(data).toEqual([...own(1), ...own(3)])
    }
  }, 30_000)

  test('transactions on the same keys in opposite orders, from two components at once, all succeed', async () => {
    const keys = ['d1', 'd2', 'd3', 'd4']
    const rounds = 15
    const writers = 2
    await Promise.all(
      [first, second].flatMap((client, side) =>
        Array.from({ length: writers }, async (_, writer) => {
          for (let n = 0; n < rounds; n += 1) {
            const order = (side + writer) % 2 === 0 ? keys : keys.toReversed()
            await client.transact(
              order.flatMap((key) => [{ key, value: { side, writer, n } }, event(key, { side, writer, n })]),
            )
          }
        }),
      ),
    )
    for (const key of keys) {
      const events = await poll(key, () => topic.ofKey(key).length >= 2 * writers * rounds && topic.ofKey(key), {
        timeoutMs: 20_000,
      })
      const numbers = [...new Set(events.map((each) => Number(each.event['sequence'])))]
      expect(numbers).toEqual(Array.from({ length: 2 * writers * rounds }, (_, n) => n + 1))
      // State and event are of one transaction, so the last event has the last state.
      expect(await first.json(key)).toEqual(events.at(-1)?.event['data'])
    }
  }, 60_000)

  test('an event of exactly maxEventBytes is published; one byte more is refused with nothing written', async () => {
    const id = { 'cloudevent.id': 'e'.repeat(36) }
    const size = /has (\d+) bytes/.exec(
      (await failure(first.transact([event('size', 'x'.repeat(maxEventBytes), id)]))).details,
    )?.[1]
    const room = 2 * maxEventBytes - Number(size)
    const write = (length: number) =>
      first.transact([{ key: 'size', value: length }, event('size', 'x'.repeat(length), id)])
    expect((await failure(write(room + 1))).details).toMatch(
      new RegExp(`^EVENT_TOO_LARGE: .* ${maxEventBytes + 1} bytes`),
    )
    expect(await first.json('size')).toBeUndefined()
    await write(room)
    const [published] = await poll('the event', () => topic.ofKey('size').length > 0 && topic.ofKey('size'))
    expect([await first.json('size'), published?.event['sequence']]).toEqual([room, '1'])
    // The limit counts the longest sequence number that it could have had.
    expect(Buffer.byteLength(published?.bytes ?? '')).toBe(maxEventBytes - '9'.repeat(20).length + 1)
  })
})
