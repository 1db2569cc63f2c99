// Reads published events from Kafka, for tests of services that publish.
import { randomUUID } from 'node:crypto'
import { Kafka, logLevel } from 'kafkajs'
import { poll } from '../poll.ts'

export type PublishedEvent = { id: string; type: string; source: string; sequence: string; data: unknown }

/**
 * Reads a topic on TEST_KAFKA_BROKERS from its beginning.
 * @returns `eventsOf` waits for `count` events with a Kafka key and returns all of them, in order
 * of arrival; `events` are all that have arrived so far
 */
export async function watchTopic(topic: string): Promise<{
  eventsOf: (key: string, count: number) => Promise<PublishedEvent[]>
  events: Record<string, unknown>[]
  close: () => Promise<void>
}> {
  const kafka = new Kafka({ brokers: (process.env['TEST_KAFKA_BROKERS'] ?? '').split(','), logLevel: logLevel.NOTHING })
  const consumer = kafka.consumer({ groupId: `test-${randomUUID()}` })
  const events = new Map<string, PublishedEvent[]>()
  const all: Record<string, unknown>[] = []
  await consumer.connect()
  await consumer.subscribe({ topic, fromBeginning: true })
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
    return poll(`${count} events of ${key} in ${topic}`, enough, { timeoutMs: 30_000 })
  }
  return { eventsOf, events: all, close: () => consumer.disconnect() }
}
