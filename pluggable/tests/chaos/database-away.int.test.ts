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

// The way to the database, spoiled: connections that are reset, and connections on which nothing
// comes any more. A server that is really killed is what kills.chaos.test.ts is for.

/** What a caller may have to wait for an answer. */
const limitMs = 2_500

/** A proxy to the server that this address names, and the address by way of the proxy. */
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
    const way = await proxied(database.properties['connectionString'] ?? '')
    proxy = way.proxy
    client = openStore(component.socket)
    await client.init({
      ...database.properties,
      connectionString: way.connectionString,
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

  /** Every kind of call, with a name. */
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
   * What became of a call: its error's first word and how long it took, once nothing answered any
   * more.
   */
  async function outcome(call: () => Promise<unknown>, spoiledAt: () => number): Promise<{ code: string; ms: number }> {
    const began = performance.now()
    const code = await call().then(
      () => 'OK',
      (error: ServiceError) => /^\w+/.exec(error.details)?.[0] ?? String(error.code),
    )
    return { code, ms: performance.now() - Math.max(began, spoiledAt()) }
  }

  const spoilers: [string, () => Promise<void> | void][] = [
    ['connections are reset and no new ones taken', () => proxy.cut()],
    ['connections stay, and nothing passes any more', () => proxy.silence()],
    ['requests arrive, and their answers do not', () => proxy.dropAnswers()],
  ]

  test.each(spoilers)(
    '%s: each call says so within 2.5 s, and all work again afterwards',
    async (_, spoil) => {
      await works()
      const waiting: Promise<unknown>[] = []
      let spoiledAt = 0
      const answers: { name: string; code: string; ms: number }[] = []
      const call = (n: string) => {
        for (const [name, kind] of Object.entries(calls(n)))
          waiting.push(outcome(kind, () => spoiledAt).then((found) => answers.push({ name: `${name} ${n}`, ...found })))
      }
      try {
        // Some are in their middle when it happens; then all kinds at once, again and again, beside
        // those that still wait.
        for (let n = 0; n < 8; n += 1) call(`before ${n}`)
        await spoil()
        spoiledAt = performance.now()
        for (let n = 0; n < 5; n += 1) {
          call(`during ${n}`)
          await sleep(300)
        }
        await Promise.all(waiting)
      } finally {
        await proxy.restore()
      }
      const wrong = answers.filter(
        ({ name, code, ms }) =>
          ms > limitMs ||
          !(['STORE_UNAVAILABLE', 'COMMIT_UNKNOWN'].includes(code) || (code === 'OK' && name.includes('before'))),
      )
      expect(wrong).toEqual([])

      const published = topic.published.length
      await poll('all works again', () => works().catch(() => false), { timeoutMs: 15_000 })
      await client.transact([event('events', { after: true })])
      // The relay too.
      await poll('the event arrives', () => topic.published.length > published, { timeoutMs: 15_000 })
      await poll('the outbox is empty', async () => (await database.waiting()) === 0, { timeoutMs: 15_000 })
      const sequences = [...new Set(topic.ofKey('events').map((each) => Number(each.event['sequence'])))]
      expect(sequences).toEqual(Array.from(sequences, (_, n) => n + 1))
    },
    60_000,
  )
})
