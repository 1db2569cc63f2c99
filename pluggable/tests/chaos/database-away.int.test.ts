import { rmSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ServiceError } from '@grpc/grpc-js'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startMongodbProxy, startTcpProxy, type TcpProxy } from '../../../platform/testing/tcp-proxy.ts'
import { poll } from '../../../platform/poll.ts'
import { startComponentProcess, type ComponentProcess } from '../../../platform/testing/component-process.ts'
import {
  createTopic,
  event,
  mongodbUnderTest,
  mysqlUnderTest,
  openStore,
  type StoreClient,
  type TestDatabase,
  type TestTopic,
} from '../stores.ts'

// A broken network to the database: connections that are reset, and connections that go silent.
// kills.chaos.test.ts kills the server itself.

/** How long a caller may wait for a response. */
const limitMs = 2_500

/** Starts a proxy to the server of a connection string and returns the string that leads to it. */
async function proxied(connectionString: string): Promise<{ proxy: TcpProxy; connectionString: string }> {
  const { host, hostname, port, protocol } = new URL(connectionString)
  const proxy = protocol === 'mysql:' ? await startTcpProxy(hostname, Number(port)) : await startMongodbProxy(host)
  return { proxy, connectionString: connectionString.replace(host, `${hostname}:${proxy.port}`) }
}

describe.each([mysqlUnderTest(), mongodbUnderTest()])('state.$type', (store) => {
  let database: TestDatabase
  let topic: TestTopic
  let proxy: TcpProxy
  let component: ComponentProcess
  let client: StoreClient
  beforeAll(async () => {
    ;[database, topic, component] = await Promise.all([
      store.createDatabase(),
      createTopic(store.brokers),
      startComponentProcess(store.type),
    ])
    const viaProxy = await proxied(database.properties['connectionString'] ?? '')
    proxy = viaProxy.proxy
    client = openStore(component.socket)
    await client.init({
      ...database.properties,
      connectionString: viaProxy.connectionString,
      relayBrokers: store.brokers,
      relayTopic: topic.name,
    })
  }, 60_000)
  afterAll(async () => {
    client?.close()
    await component?.kill('SIGKILL')
    await proxy?.close()
    if (component) rmSync(component.folder, { recursive: true, force: true })
    await Promise.all([database?.drop(), topic?.drop()])
  }, 60_000)

  /** Every kind of call, by name. */
  const calls = (n: number | string): Record<string, () => Promise<unknown>> => ({
    get: () => client.get('a'),
    'bulk get': () => client.bulkGet(['a', 'b', 'c']),
    set: () => client.set({ key: `set-${n}`, value: n }),
    delete: () => client.delete(`set-${n}`),
    'bulk set': () => client.bulkSet(['x', 'y', 'z'].map((key) => ({ key: `${key}-${n}`, value: n }))),
    'bulk delete': () => client.bulkDelete(['x', 'y', 'z'].map((key) => `${key}-${n}`)),
    'a transaction': () => client.transact([{ key: `t-${n}`, value: n }, { delete: 'nothing' }]),
    'a transaction with an event': () => client.transact([{ key: `e-${n}`, value: n }, event('events', { n })]),
  })

  const works = async () => {
    for (const call of Object.values(calls('works'))) await call()
    return true
  }

  /**
   * Returns the first word of a call's error, or OK, and how long it took after the fault began.
   */
  async function outcome(call: () => Promise<unknown>, faultAt: () => number): Promise<{ code: string; ms: number }> {
    const began = performance.now()
    const code = await call().then(
      () => 'OK',
      (error: ServiceError) => /^\w+/.exec(error.details)?.[0] ?? String(error.code),
    )
    return { code, ms: performance.now() - Math.max(began, faultAt()) }
  }

  const faults: [string, () => Promise<void> | void][] = [
    ['connections are reset and new ones refused', () => proxy.cut()],
    ['connections stay open and nothing passes', () => proxy.silence()],
    ['requests arrive and responses do not', () => proxy.dropAnswers()],
  ]

  test.each(faults)(
    '%s: each call fails within 2.5 s, and all work again afterwards',
    async (_, breakNetwork) => {
      await works()
      const waiting: Promise<unknown>[] = []
      let faultAt = 0
      const outcomes: { name: string; code: string; ms: number }[] = []
      const call = (n: string) => {
        for (const [name, kind] of Object.entries(calls(n)))
          waiting.push(outcome(kind, () => faultAt).then((found) => outcomes.push({ name: `${name} ${n}`, ...found })))
      }
      try {
        // Some calls are in flight when it happens. Then all kinds at once, repeatedly, while the
        // earlier ones still wait.
        for (let n = 0; n < 8; n += 1) call(`before ${n}`)
        await breakNetwork()
        faultAt = performance.now()
        for (let n = 0; n < 5; n += 1) {
          call(`during ${n}`)
          await sleep(300)
        }
        await Promise.all(waiting)
      } finally {
        await proxy.restore()
      }
      const wrong = outcomes.filter(
        ({ name, code, ms }) =>
          ms > limitMs ||
          !(['STORE_UNAVAILABLE', 'COMMIT_UNKNOWN'].includes(code) || (code === 'OK' && name.includes('before'))),
      )
      expect(wrong).toEqual([])

      const published = topic.published.length
      await poll('all works again', () => works().catch(() => false), { timeoutMs: 15_000 })
      await client.transact([event('events', { after: true })])
      // The relay works again too.
      await poll('the event arrives', () => topic.published.length > published, { timeoutMs: 15_000 })
      await poll('the outbox is empty', async () => (await database.waiting()) === 0, { timeoutMs: 15_000 })
      const sequences = [...new Set(topic.ofKey('events').map((each) => Number(each.event['sequence'])))]
      expect(sequences).toEqual(Array.from(sequences, (_, n) => n + 1))
    },
    60_000,
  )
})
