// Reads published events from Kafka, for tests of services that publish.
import { randomUUID } from 'node:crypto'
import { Kafka, logLevel } from 'kafkajs'
import { poll } from '../poll.ts'

export type PublishedEvent = {
  id: string
  type: string
  source: string
  time: string
  sequence: string
  data: unknown
}

export const watchTopic = (topic: string) => watchTopics([topic])

/**
 * Reads topics on TEST_KAFKA_BROKERS from their beginning. Creates those that do not exist.
 * @returns `eventsOf` waits for `count` events with a Kafka key and returns all of them, in order
 * of arrival; `events` are all that have arrived so far
 */
export async function watchTopics(topics: string[]): Promise<{
  eventsOf: (key: string, count: number) => Promise<PublishedEvent[]>
  events: Record<string, unknown>[]
  close: () => Promise<void>
}> {
  const kafka = new Kafka({ brokers: (process.env['TEST_KAFKA_BROKERS'] ?? '').split(','), logLevel: logLevel.NOTHING })
  const admin = kafka.admin()
  await admin.connect()
  await admin.createTopics({ topics: topics.map((topic) => ({ topic, numPartitions: 6, replicationFactor: 1 })) })
  await admin.disconnect()
  const consumer = kafka.consumer({ groupId: `test-${randomUUID()}` })
  const events = new Map<string, PublishedEvent[]>()
  const all: Record<string, unknown>[] = []
  await consumer.connect()
  await consumer.subscribe({ topics, fromBeginning: true })
  await consumer.run({
    eachMessage: async ({ message: { key, value } }) => {
      const of = String(key)
      const event = JSON.parse(String(value)) as PublishedEvent
      events.set(of, [...(events.get(of) ?? []), event])
      all.push(event)
    },
  })
  const eventsOf = (key: string, count: number) => {
    const enough = () => {
      const found = events.get(key) ?? []
      return found.length >= count && found
    }
    return poll(`${count} events of ${key} in ${topics.join(', ')}`, enough, { timeoutMs: 30_000 })
  }
  return { eventsOf, events: all, close: () => consumer.disconnect() }
}
