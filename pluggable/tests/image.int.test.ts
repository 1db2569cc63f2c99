import { spawnSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { chmodSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { OutputBindingClient } from '#protos/dapr/proto/components/v1/bindings.ts'
import { startChild, type Child } from '../../platform/child.ts'
import { freePorts } from '../../platform/free-ports.ts'
import { poll } from '../../platform/poll.ts'
import { createClient } from './component-client.ts'
import { createTopic, event, mongodbUnderTest, mysqlUnderTest, openStore } from './stores.ts'
import { collect } from '../../images/collect.ts'

// Tests the images as far as possible without a container runtime: their files are complete and run
// with the Containerfile's environment and command, as its user, in a socket folder like a pod's.
// The images themselves are built and run by e2e/cluster.

const root = join(import.meta.dirname, '..', '..')
const containerfile = readFileSync(join(root, 'images', 'Containerfile'), 'utf8')

/** Parses one of the Containerfile's final stages, including the stages it is based on. */
function stage(target: string) {
  const stages = containerfile.split(/^FROM /m)
  const text = (name: string) => stages.find((each) => new RegExp(`^\\S+ AS ${name}\\n`).test(each)) ?? ''
  const all = text('node') + text('component') + text(target)
  const first = (pattern: RegExp) => pattern.exec(all)?.[1] ?? ''
  return {
    env: Object.fromEntries([...all.matchAll(/^ENV (\w+)=(.*)$/gm)].map(([, name, value]) => [name, value])) as Record<
      string,
      string
    >,
    user: first(/^USER (.*)$/m)
      .split(':')
      .map(Number),
    command: JSON.parse(first(/^CMD (.*)$/m)) as string[],
  }
}

const targets = ['outbox-mysql', 'outbox-mongodb', 'bindings-mongodb'] as const

describe.each(targets)('the image of %s', (target) => {
  const { env, user, command } = stage(target)
  const folder = mkdtempSync(join(tmpdir(), 'image-'))
  const app = join(folder, 'app')
  const sockets = join(folder, 'sockets')
  const socket = join(sockets, `${target.replace('bindings-', '')}.sock`)
  // Only root can run as another user, who must be able to run this machine's Node.
  const otherUser = { uid: user[0] ?? 0, gid: user[1] ?? 0 }
  const asOtherUser = process.getuid?.() === 0 && spawnSync(process.execPath, ['--version'], otherUser).status === 0
  let metricsPort = 0
  let child: Child
  let output = ''

  const options = () => ({
    cwd: app,
    // LOG_FORMAT=pretty needs a package that no import names.
    env: {
      PATH: process.env['PATH'],
      ...env,
      DAPR_COMPONENTS_SOCKETS_FOLDER: sockets,
      METRICS_PORT: String(metricsPort),
      LOG_FORMAT: 'pretty',
    },
    ...(asOtherUser ? otherUser : {}),
  })
  const probe = (path: string) => fetch(`http://127.0.0.1:${metricsPort}${path}`).then(({ status }) => status)
  const isReady = async () => (await probe('/readyz').catch(() => 0)) === 200

  beforeAll(async () => {
    ;[metricsPort = 0] = await freePorts(1)
    collect(root, target, join(folder, 'image'))
    for (const part of ['packages', 'app']) cpSync(join(folder, 'image', part), app, { recursive: true })
    chmodSync(folder, 0o755)
    // Like a pod's volume: owned by the test's user, open to everyone in the pod.
    mkdirSync(sockets)
    chmodSync(sockets, 0o777)
  })
  afterAll(async () => {
    await child?.kill('SIGKILL')
    rmSync(folder, { recursive: true, force: true })
  })

  test('runs as a user other than root', () => {
    expect(otherUser).toEqual({ uid: 65_532, gid: 65_532 })
  })

  test('is ready once it listens, for its own user only, and responds to probes from outside', async () => {
    expect(await isReady()).toBe(false)
    child = startChild(process.execPath, command.slice(1), { ...options(), onOutput: (text) => (output += text) })
    await child.ready('it is ready', isReady)
    await poll('it logs that it listens', () => output.includes('listening'))
    const { mode, uid } = statSync(socket)
    expect([mode & 0o777, uid]).toEqual([0o600, asOtherUser ? otherUser.uid : process.getuid?.()])
    // The folder is left to its owner.
    if (asOtherUser) expect(statSync(sockets).mode & 0o777).toBe(0o777)
    expect(await probe('/livez')).toBe(200)
    expect(env['METRICS_HOST']).toBe('0.0.0.0')
  })

  test('works', async () => {
    if (target === 'bindings-mongodb') {
      const binding = createClient(OutputBindingClient, socket, 'queries')
      const properties = {
        connectionString: process.env['TEST_MONGODB_URI'] ?? '',
        databaseName: `test_${randomUUID().slice(0, 8)}`,
        collectionName: 'c',
      }
      await binding.call((c) => c.init, { metadata: { properties } })
      const request = { operation: 'count', data: Buffer.from('{}'), metadata: {} }
      const { data } = await binding.call<unknown, { data: Uint8Array }>((c) => c.invoke as never, request)
      expect(JSON.parse(Buffer.from(data).toString())).toEqual([{ count: 0 }])
      return binding.close()
    }
    const { createDatabase, brokers } = target === 'outbox-mysql' ? mysqlUnderTest() : mongodbUnderTest()
    const [database, topic] = await Promise.all([createDatabase(), createTopic(brokers)])
    const store = openStore(socket)
    try {
      await store.init({ ...database.properties, relayBrokers: brokers, relayTopic: topic.name })
      await store.transact([{ key: 'a', value: 1 }, event('a', { n: 1 })])
      await poll('the event', () => topic.ofKey('a').length > 0)
      expect(await store.json('a')).toBe(1)
      // Stops the relay before its topic is deleted.
      await store.init(database.properties)
    } finally {
      store.close()
      await topic.drop()
      await database.drop()
    }
  })

  test('ends on SIGTERM', async () => {
    expect(child.end()).toBeUndefined()
    expect(await child.kill('SIGTERM')).toEqual({ code: 0, signal: null })
    expect(output).toContain('stopping')
    expect([existsSync(socket), await isReady()]).toEqual([false, false])
  })
})
