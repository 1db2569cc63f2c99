// A service's store as the service meets it: a real sidecar with a real outbox store on a database and a topic of its own.
import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Kafka, logLevel } from 'kafkajs'
import { createConnection } from 'mysql2/promise'
import { createDapr, type Dapr } from '#lib/dapr.ts'
import { startComponentProcess } from '../../components/host/component-process.ts'
import { poll } from '../poll.ts'
import { createProgress } from '../progress.ts'
import { ensureParts } from '../servers/ensure.ts'

export type Published = { type: string; key: string; sequence: string; data: Record<string, unknown> }

export type StoreSidecar = {
  dapr: Dapr
  /** For other clients than ours. */
  grpcPort: number
  apiToken: string
  /** Waits until `count` events of this Kafka key have been published, and answers all there are, in their order. */
  published: (key: string, count: number) => Promise<Published[]>
  /** Ends all of it and removes what it made. */
  close: () => Promise<void>
}

/**
 * Starts `state.outbox-mysql` and a sidecar that uses it. Needs the servers of `*.int.test.ts`.
 * @param o.resources further Dapr resources, as YAML
 * @throws Error when one of them does not come up
 */
export async function startStoreSidecar(o: { appId: string; store: string; resources?: string[] }): Promise<StoreSidecar> {
  const { TEST_MYSQL_URL, TEST_KAFKA_BROKERS } = process.env
  if (!TEST_MYSQL_URL || !TEST_KAFKA_BROKERS) throw new Error('TEST_MYSQL_URL and TEST_KAFKA_BROKERS are not set: is this not an .int.test.ts?')
  const closers: (() => unknown)[] = []
  const close = async () => {
    for (const closer of closers.splice(0).toReversed()) await closer()
  }
  try {
    const name = `test_${randomUUID().replaceAll('-', '')}`
    const folder = mkdtempSync(join(tmpdir(), 'sidecar-'))
    closers.push(() => rmSync(folder, { recursive: true, force: true }))

    const database = await createConnection({ uri: TEST_MYSQL_URL })
    await database.query(`CREATE DATABASE ${name}`)
    closers.push(async () => {
      await database.query(`DROP DATABASE ${name}`)
      await database.end()
    })
    const kafka = new Kafka({ brokers: TEST_KAFKA_BROKERS.split(','), logLevel: logLevel.NOTHING })
    const admin = kafka.admin()
    await admin.connect()
    await admin.createTopics({ topics: [{ topic: name, numPartitions: 6, replicationFactor: 1 }] })
    closers.push(async () => {
      await admin.deleteTopics({ topics: [name] })
      await admin.disconnect()
    })
    const events: Published[] = []
    const consumer = kafka.consumer({ groupId: name })
    await consumer.connect()
    closers.push(() => consumer.disconnect())
    await consumer.subscribe({ topic: name, fromBeginning: true })
    await consumer.run({
      eachMessage: async ({ message }) => {
        const { type, sequence, data } = JSON.parse(message.value!.toString())
        events.push({ type, key: message.key!.toString(), sequence, data })
      },
    })

    const component = await startComponentProcess('outbox-mysql', folder)
    closers.push(() => component.kill('SIGTERM'))
    const url = new URL(TEST_MYSQL_URL)
    url.pathname = `/${name}`
    const metadata = Object.entries({ connectionString: url.href, relayBrokers: TEST_KAFKA_BROKERS, relayTopic: name, relaySource: o.appId })
    const store = {
      apiVersion: 'dapr.io/v1alpha1', kind: 'Component', metadata: { name: o.store },
      spec: { type: 'state.outbox-mysql', version: 'v1', metadata: metadata.map(([n, value]) => ({ name: n, value })) },
    }
    // JSON is YAML.
    for (const [i, resource] of [JSON.stringify(store), ...(o.resources ?? [])].entries()) writeFileSync(join(folder, `${i}.yaml`), resource)
    const nameResolution = { component: 'sqlite', version: 'v1', configuration: { connectionString: join(folder, 'names.db') } }
    const configuration = { apiVersion: 'dapr.io/v1alpha1', kind: 'Configuration', metadata: { name: 'test' }, spec: { nameResolution } }
    const configurationFile = join(folder, 'configuration.json')
    writeFileSync(configurationFile, JSON.stringify(configuration))

    const progress = createProgress()
    const { daprd } = await ensureParts(['daprd'], progress).finally(() => progress.close())
    if (daprd.from === 'address') throw new Error('the sidecar has to be a program')
    const [grpcPort, httpPort, internalPort, metricsPort] = await freePorts(4)
    const apiToken = randomUUID()
    const child = spawn(daprd.path, [
      '--app-id', o.appId, '--dapr-listen-addresses', '127.0.0.1', '--dapr-grpc-port', String(grpcPort), '--dapr-http-port', String(httpPort),
      '--dapr-internal-grpc-listen-address', '127.0.0.1', '--dapr-internal-grpc-port', String(internalPort), '--metrics-listen-address', '127.0.0.1',
      '--metrics-port', String(metricsPort), '--resources-path', folder, '--config', configurationFile, '--dapr-graceful-shutdown-seconds', '1',
    ], { env: { PATH: process.env['PATH'], DAPR_API_TOKEN: apiToken, DAPR_COMPONENTS_SOCKETS_FOLDER: folder, DAPR_HOST_IP: '127.0.0.1' }, stdio: ['ignore', 'pipe', 'inherit'] })
    let output = ''
    child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()))
    const ended = once(child, 'exit')
    closers.push(async () => {
      child.kill('SIGTERM')
      await ended
    })
    await poll('the sidecar is healthy', async () => {
      if (child.exitCode !== null) throw new Error(output)
      return (await fetch(`http://127.0.0.1:${httpPort}/v1.0/healthz/outbound`)).ok
    }, { timeoutMs: 30_000, isFatal: () => child.exitCode !== null })
    const dapr = createDapr({ grpcPort: grpcPort!, httpPort: httpPort!, apiToken })
    closers.push(() => dapr.close())

    const of = (key: string) => events.filter((event) => event.key === key)
    const published = (key: string, count: number) => poll(`${count} events of ${key}`, () => of(key).length >= count && of(key), { timeoutMs: 30_000 })
    return { dapr, grpcPort: grpcPort!, apiToken, published, close }
  } catch (error) {
    await close()
    throw error
  }
}

/** Ports that are free now; taken together, so that they differ. */
async function freePorts(count: number): Promise<number[]> {
  const probes = await Promise.all(Array.from({ length: count }, async () => {
    const probe = createServer().listen(0, '127.0.0.1')
    await once(probe, 'listening')
    return probe
  }))
  return Promise.all(probes.map(async (probe) => {
    const address = probe.address()
    probe.close()
    await once(probe, 'close')
    return typeof address === 'object' && address ? address.port : 0
  }))
}
