import type { ServiceError } from '@grpc/grpc-js'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { freePorts } from '../../platform/free-ports.ts'
import { startKafkaProxy } from '../../platform/testing/tcp-proxy.ts'
import { poll } from '../../platform/poll.ts'
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

/** A store under test that can keep a state row from being written for a while. */
export type RelayUnderTest = StoreUnderTest & {
  /** Locks the row of the application's key `key`; resolves once it is locked. */
  lockRow(database: TestDatabase, key: string): Promise<{ release(): Promise<void> }>
}

type Component = {
  process: ComponentProcess
  client: StoreClient
  leads(): boolean
  metrics(): Promise<Map<string, number>>
}

/** Parses a Prometheus text into samples by name and labels, as written. */
const samples = (text: string): Map<string, number> =>
  new Map(
    text
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'))
      .map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ') + 1))]),
  )

const lines = (process: ComponentProcess): Record<string, unknown>[] =>
  process
    .output()
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as Record<string, unknown>)

/** Tests the relay's behaviour and its logs and metrics, with real processes. */
export function describeRelay(store: RelayUnderTest): void {
  describe(`the relay of state.${store.type}`, () => {
    let database: TestDatabase
    let topic: TestTopic
    let components: Component[]

    async function startComponent(properties: Record<string, string>): Promise<Component> {
      const [port] = await freePorts(1)
      const process = await startComponentProcess(store.type, undefined, { env: { METRICS_PORT: String(port) } })
      const client = openStore(process.socket)
      await client.init(properties)
      const started = {
        process,
        client,
        leads: () =>
          lines(process).findLast(({ msg }) => /^relay (leads|lost)/.test(String(msg)))?.['msg'] === 'relay leads',
        metrics: async () => samples(await (await fetch(`http://127.0.0.1:${port}/metrics`)).text()),
      }
      components.push(started)
      return started
    }

    const properties = (relayBrokers = store.brokers) => ({
      ...database.properties,
      relayBrokers,
      relayTopic: topic.name,
    })

    /** Starts a leader, then a standby. */
    async function startPair(): Promise<[Component, Component]> {
      const leader = await startComponent(properties())
      await poll('the first leads', leader.leads)
      return [leader, await startComponent(properties())]
    }

    beforeAll(async () => {
      topic = await createTopic(store.brokers)
    })
    afterAll(async () => {
      await topic.drop()
    })

    /** Wraps a test with its own database and ends its components. */
    const alone = (run: () => Promise<void>) => async () => {
      components = []
      database = await store.createDatabase()
      try {
        await run()
      } finally {
        for (const { client, process } of components) {
          client.close()
          await process.kill('SIGKILL')
        }
        await database.drop()
      }
    }

    test(
      'events committed through a component that does not lead do not wait for an idle poll',
      alone(async () => {
        const [, other] = await startPair()
        const waits: number[] = []
        for (let n = 0; n < 15; n += 1) {
          // Long enough for an idle leader to back off.
          await new Promise((resolve) => setTimeout(resolve, 400))
          await other.client.transact([event(`replica-${n}`, { n })])
          const committed = performance.now()
          await poll('its event', () => topic.ofKey(`replica-${n}`).length > 0, { intervalMs: 10 })
          waits.push(performance.now() - committed)
        }
        // The median: one late poll by a busy machine proves nothing. A leader that polls every
        // 250 ms needs 125.
        expect(waits.toSorted((a, b) => a - b)[7]).toBeLessThan(90)
      }),
    )

    test(
      'a backlog of one key that exceeds a batch drains in order',
      alone(async () => {
        const proxy = await startKafkaProxy(store.brokers.split(',')[0] ?? '', { listening: false })
        try {
          const { client } = await startComponent(properties(`127.0.0.1:${proxy.port}`))
          await Promise.all(
            Array.from({ length: 40 }, (_, n) => client.transact([event('large', { n, padding: 'x'.repeat(60_000) })])),
          )
          expect(await database.waiting()).toBe(40)
          await proxy.restore()
          await poll('drained', async () => (await database.waiting()) === 0 && topic.ofKey('large').length >= 40, {
            timeoutMs: 20_000,
          })
          const first = [...new Set(topic.ofKey('large').map((each) => Number(each.event['sequence'])))]
          expect(first).toEqual(Array.from({ length: 40 }, (_, n) => n + 1))
        } finally {
          await proxy.close()
        }
      }),
    )

    test(
      '/metrics covers calls, the backlog and the relay',
      alone(async () => {
        const proxy = await startKafkaProxy(store.brokers.split(',')[0] ?? '', { listening: false })
        try {
          const { client, metrics } = await startComponent(properties(`127.0.0.1:${proxy.port}`))
          for (let n = 0; n < 5; n += 1) await client.transact([{ key: 'm', value: n }, event('m', { n })])
          await failure(client.set({ key: 'm', value: 1, etag: 'wrong' }))

          const before = await poll('a failed send', async () => {
            const found = await metrics()
            return (found.get('outbox_relay_errors_total{component="store",step="publish"}') ?? 0) > 0 && found
          })
          expect(before.get('outbox_rows_waiting{component="store"}')).toBe(5)
          expect(before.get('outbox_oldest_row_age_seconds{component="store"}')).toBeGreaterThan(0)
          expect(before.get('outbox_relayed_total{component="store"}')).toBe(0)
          expect(before.get('outbox_leader{component="store"}')).toBe(1)
          const calls = (rpc: string, code: string) =>
            before.get(`component_call_duration_seconds_count{component="store",rpc="${rpc}",code="${code}"}`)
          expect([calls('Transact', 'OK'), calls('Set', 'ETAG_MISMATCH'), calls('Init', 'OK')]).toEqual([5, 1, 1])

          await proxy.restore()
          const drained = await poll('all relayed', async () => {
            const found = await metrics()
            return found.get('outbox_relayed_total{component="store"}') === 5 && found
          })
          expect(drained.get('outbox_relay_delay_seconds_count{component="store"}')).toBe(5)
          expect(drained.get('outbox_relay_delay_seconds_sum{component="store"}')).toBeGreaterThan(0)
        } finally {
          await proxy.close()
        }
      }),
    )

    test(
      'a failed call is one log line with its code, Component and RPC',
      alone(async () => {
        const { client, process } = await startComponent(properties())
        await failure(client.transact([event('untyped', 1, { 'cloudevent.type': '' })]))
        const line = await poll('the line', () => lines(process).find(({ msg }) => msg === 'call failed'))
        expect(line).toMatchObject({
          level: 'warn',
          component: 'store',
          rpc: 'Transact',
          code: 'EVENT_REFUSED',
          service: `test-${store.type}`,
        })
      }),
    )

    test(
      'a second Init replaces the first, whose relay releases the lease',
      alone(async () => {
        const { client, process, leads } = await startComponent(properties())
        await poll('it leads', leads)
        const began = performance.now()
        await client.init(properties())
        const terms = () => lines(process).filter(({ msg }) => msg === 'relay leads')
        await poll('the new one leads', () => terms().length === 2)
        // The former relay would renew the lease for ever if it kept it, and block it for 4 s if it
        // ended without releasing it.
        expect(performance.now() - began).toBeLessThan(2_000)
        await client.transact([event('second', { n: 1 })])
        await poll('the event', () => topic.ofKey('second').length > 0)
        await poll('it is deleted', async () => (await database.waiting()) === 0)
        expect(topic.ofKey('second')).toHaveLength(1)
      }),
    )

    test(
      'SIGTERM lets a transaction finish and hands the relay over at once',
      alone(async () => {
        const [leader, heir] = await startPair()
        await leader.client.set({ key: 'held', value: 0 })
        const row = await store.lockRow(database, 'held')
        const outcome = leader.client.transact([{ key: 'held', value: 1 }, event('held', { n: 1 })]).then(
          () => 'done',
          (error: ServiceError) => error.details,
        )
        // Its response shows that earlier calls on the same connection have arrived.
        await leader.client.get('other')
        const ended = leader.process.kill('SIGTERM')
        await poll('it is stopping', () => lines(leader.process).some(({ msg }) => msg === 'stopping'))
        await row.release()
        expect(await outcome).toBe('done')
        await ended
        const released = performance.now()
        await poll('the heir leads', heir.leads, { timeoutMs: 10_000 })
        // A standby checks every 400 ms. Waiting for the lease to expire would take 4 s.
        expect(performance.now() - released).toBeLessThan(1_500)
        await poll('the event', () => topic.ofKey('held').length > 0)
        expect(await heir.client.json('held')).toBe(1)
      }),
    )
  })
}
