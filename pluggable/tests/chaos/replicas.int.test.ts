import { rmSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { poll } from '../../../platform/poll.ts'
import { startComponentProcess, type ComponentProcess } from '../../../platform/testing/component-process.ts'
import {
  dropTopic,
  makeTopic,
  mongodbUnderTest,
  mysqlUnderTest,
  openStore,
  type StoreClient,
  type TestDatabase,
} from '../stores.ts'
import { createRecorder } from './recorder.ts'

// Several components on one outbox, as with several replicas of a service.

type Replica = ComponentProcess & { client: StoreClient; leads: () => Promise<boolean> }

/** A module for a component to load first, which sets its clock wrong by this much. */
const wrongClock = (ms: number) =>
  `data:text/javascript,${encodeURIComponent(`
    const now = () => right.now() + ${ms}
    const right = Date
    globalThis.Date = new Proxy(right, {
      construct: (target, given, self) => Reflect.construct(target, given.length > 0 ? given : [now()], self),
      get: (target, name) => (name === 'now' ? now : Reflect.get(target, name)),
    })`)}`

const minutes = 60_000

describe.each([mysqlUnderTest(), mongodbUnderTest()])('state.$type', (store) => {
  let database: TestDatabase
  let topic: string
  let replicas: Replica[]
  beforeEach(async () => {
    replicas = []
    ;[database, topic] = await Promise.all([store.createDatabase(), makeTopic(store.brokers)])
  })
  afterEach(async () => {
    for (const { client, folder, kill } of replicas) {
      client.close()
      await kill('SIGKILL')
      rmSync(folder, { recursive: true, force: true })
    }
    await Promise.all([database.drop(), dropTopic(store.brokers, topic)])
  })

  /** @param folder the folder of an earlier component, to start like a restart of it */
  async function start(clockErrorMs: number, folder?: string): Promise<Replica> {
    const component = await startComponentProcess(store.type, folder, {
      preload: wrongClock(clockErrorMs),
      env: { METRICS_PORT: '0' },
    })
    const client = openStore(component.socket)
    const port = /"metricsPort":(\d+)/.exec(component.output())?.[1]
    const leads = async () =>
      /^outbox_leader\{.*\} 1$/m.test(await (await fetch(`http://127.0.0.1:${port}/metrics`)).text())
    const replica = { ...component, client, leads }
    replicas.push(replica)
    await client.init({ ...database.properties, relayBrokers: store.brokers, relayTopic: topic })
    return replica
  }

  async function leaderAmong(all: Replica[]): Promise<Replica | undefined> {
    const leading = await Promise.all(all.map((replica) => replica.leads()))
    expect(leading.filter(Boolean).length).toBeLessThanOrEqual(1)
    return all.find((_, n) => leading[n])
  }

  /** Waits until one leads. Two leaders are a failure at once, not a reason to wait. */
  const theLeader = (all: Replica[]) => poll('one leads', () => leaderAmong(all), { isFatal: () => true })

  /**
   * Writes through these components until `stop`. Each transaction spans one or two of a few keys.
   */
  function load(through: () => Replica[]) {
    const recorder = createRecorder()
    let stopping = false
    const writer = async (n: number) => {
      for (let count = n; !stopping; count += 1) {
        const all = through()
        await recorder.write(
          all[count % all.length]!.client,
          [`k${count % 5}`, `k${(count * 3 + n) % 7}`].filter((key, at, both) => both.indexOf(key) === at),
        )
        await sleep(5)
      }
    }
    const writers = Array.from({ length: 8 }, (_, n) => writer(n))
    return {
      acked: () => recorder.attempts.filter(({ outcome }) => outcome === 'acked').length,
      async stop() {
        stopping = true
        await Promise.all(writers)
        await poll('the outbox is empty', async () => (await database.waiting()) === 0, { timeoutMs: 20_000 })
        return recorder.violations(database, store.brokers, topic)
      },
    }
  }

  test('of four components with clocks minutes apart one leads, and another takes over within 5 s', async () => {
    let alive = await Promise.all([0, 7 * minutes, -5 * minutes, 90_000].map((error) => start(error)))
    const clocks = alive.map(({ output }) => Date.parse(/"time":"([^"]+)"/.exec(output())?.[1] ?? ''))
    expect(Math.max(...clocks) - Math.min(...clocks)).toBeGreaterThan(11 * minutes)

    const { acked, stop } = load(() => alive)
    for (let deaths = 0; deaths < 2; deaths += 1) {
      const leader = await theLeader(alive)
      const before = acked()
      await poll('transactions are committed', () => acked() > before + 50)
      alive = alive.filter((each) => each !== leader)
      await leader.kill('SIGKILL')
      const died = performance.now()
      await theLeader(alive)
      expect(performance.now() - died).toBeLessThan(5_000)
      alive = [...alive, await start(2 * minutes, leader.folder)]
    }
    expect(await stop()).toEqual([])
    await leaderAmong(alive)
  }, 90_000)

  test('a leader that wakes after its lease has expired does no harm', async () => {
    const both = [await start(0), await start(0)]
    // Only through the one that is not frozen: calls to the other would hang.
    let awake = both
    const { acked, stop } = load(() => awake)
    for (let times = 0; times < 3; times += 1) {
      const frozen = await theLeader(both)
      awake = both.filter((each) => each !== frozen)
      const before = acked()
      await poll('transactions are committed', () => acked() > before + 20)
      process.kill(frozen.pid, 'SIGSTOP')
      try {
        await poll('the other takes over', () => awake[0]!.leads())
        const after = acked()
        await poll('the other relays', async () => acked() > after + 100 && (await database.waiting()) < 50)
      } finally {
        process.kill(frozen.pid, 'SIGCONT')
      }
      await poll('the former leader notices', async () => !(await frozen.leads()))
    }
    awake = both
    expect(await stop()).toEqual([])
  }, 120_000)
})
