// What reached Kafka, for the `*.int.test.ts` of services that publish.
import { randomUUID } from 'node:crypto'
import { Kafka, logLevel } from 'kafkajs'
import { poll } from '../poll.ts'

export type PublishedEvent = { id: string; type: string; source: string; sequence: string; data: unknown }

/**
 * Reads a topic of TEST_KAFKA_BROKERS from its beginning.
 * @returns `eventsOf`: the events with a Kafka key in the order of their arrival, as soon as there
 * are `count`; `events`: all that came so far
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
