// After all tests against the whole shop, whatever they did to it, no log, trace or event of it may
// contain a secret, a token, a password, a card's number or an e-mail address.
import { randomUUID } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Kafka, logLevel } from 'kafkajs'
import type { TestProject } from 'vitest/node'
import { poll } from '../platform/poll.ts'
import { attachShop, type Shop } from '../platform/start/shop.ts'
import { findLeaks, secretsIn } from '../platform/testing/leaks.ts'

export default async function setup(project: TestProject): Promise<(() => Promise<void>) | undefined> {
  // A cluster's logs, traces and topics are not read from here.
  if (process.env['SHOP_CLUSTER']) return undefined
  const instance = project.getProvidedContext().shopInstance
  return async () => {
    const shop = await attachShop(instance)
    const secrets = secretsIn(shop.secrets, (path) => path !== 'kafkaClusterId')
    const found: string[] = []
    const read = { log: 0, trace: 0, event: 0 }
    for await (const { kind, name, text } of everythingTold(shop)) {
      read[kind] += text.length
      for (const { what, context } of findLeaks(text, secrets)) found.push(`${what} in ${name}: ${context}`)
    }
    for (const [kind, length] of Object.entries(read)) if (length < 1_000) found.push(`there is no ${kind} to read`)
    if (found.length > 0) throw new Error(found.join('\n'))
  }
}

type Told = { kind: 'log' | 'trace' | 'event'; name: string; text: string }

/** Yields the logs of all processes, the traces of all services, and all events. */
async function* everythingTold(shop: Shop): AsyncGenerator<Told> {
  const logs = readdirSync(shop.paths.logs)
  for (const name of logs) yield { kind: 'log', name, text: readFileSync(join(shop.paths.logs, name), 'utf8') }

  const jaeger = `http://127.0.0.1:${shop.ports.jaegerQuery}`
  const { data: services } = (await (await fetch(`${jaeger}/api/services`)).json()) as { data: string[] }
  for (const service of services) {
    const start = (Date.now() - 3_600_000) * 1_000
    const query = new URLSearchParams({ service, limit: '2000', start: `${start}`, end: `${Date.now() * 1_000}` })
    const text = await (await fetch(`${jaeger}/api/traces?${query}`)).text()
    yield { kind: 'trace', name: `traces of ${service}`, text }
  }

  for (const { topic, value } of await readTopics(shop.urls.kafkaBrokers))
    yield { kind: 'event', name: `topic ${topic}`, text: value }
}

/** Returns what all topics hold, a batch of events at a time. */
async function readTopics(brokers: string): Promise<{ topic: string; value: string }[]> {
  const kafka = new Kafka({ brokers: brokers.split(','), logLevel: logLevel.NOTHING })
  const admin = kafka.admin()
  await admin.connect()
  const topics = (await admin.listTopics()).filter((topic) => !topic.startsWith('__'))
  const missing = new Map<string, number>()
  for (const topic of topics)
    for (const { partition, low, high } of await admin.fetchTopicOffsets(topic))
      if (low !== high) missing.set(`${topic} ${partition}`, Number(high))
  await admin.disconnect()

  const values: { topic: string; value: string }[] = []
  const consumer = kafka.consumer({ groupId: `leaks-${randomUUID()}`, maxWaitTimeInMs: 100 })
  await consumer.connect()
  try {
    await consumer.subscribe({ topics, fromBeginning: true })
    await consumer.run({
      autoCommit: false,
      eachBatch: async ({ batch }) => {
        const { topic, messages } = batch
        values.push({ topic, value: messages.map(({ value }) => String(value)).join('\n') })
        const partition = `${topic} ${batch.partition}`
        if (Number(batch.lastOffset()) + 1 >= (missing.get(partition) ?? Infinity)) missing.delete(partition)
      },
    })
    await poll('all topics are read', () => missing.size === 0)
    return values
  } finally {
    await consumer.disconnect()
  }
}
