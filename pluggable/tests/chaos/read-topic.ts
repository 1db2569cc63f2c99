import { randomUUID } from 'node:crypto'
import { Kafka, logLevel } from 'kafkajs'
import { z } from 'zod'
import { poll } from '../../../platform/poll.ts'
import type { Arrival } from './checker.ts'

const event = z.object({ id: z.string(), sequence: z.string().regex(/^\d+$/) })

/**
 * Reads a topic with a plain consumer, from the beginning to the current end of each partition.
 * @throws Error when that takes longer than a minute, or when a record is not an event
 */
export async function readTopic(brokers: string, topic: string): Promise<Arrival[]> {
  const kafka = new Kafka({ brokers: brokers.split(','), logLevel: logLevel.NOTHING })
  const admin = kafka.admin()
  const consumer = kafka.consumer({ groupId: `chaos-${randomUUID()}`, maxWaitTimeInMs: 100 })
  const arrivals: Arrival[] = []
  const failures: unknown[] = []
  try {
    await admin.connect()
    const ends = await poll('the topic responds', () => admin.fetchTopicOffsets(topic))
    const missing = new Map(
      ends.filter(({ low, high }) => low !== high).map(({ partition, high }) => [partition, Number(high) - 1]),
    )
    await consumer.connect()
    await consumer.subscribe({ topic, fromBeginning: true })
    await consumer.run({
      eachMessage: async ({ partition, message }) => {
        const offset = Number(message.offset)
        const bytes = message.value?.toString() ?? ''
        try {
          const { id, sequence } = event.parse(JSON.parse(bytes))
          arrivals.push({
            key: message.key?.toString() ?? '',
            sequence: Number(sequence),
            id,
            bytes,
            partition,
            offset,
          })
        } catch (error) {
          failures.push(error)
        }
        if (offset >= (missing.get(partition) ?? Infinity)) missing.delete(partition)
      },
    })
    await poll('the topic is read to its end', () => missing.size === 0)
    if (failures.length > 0) throw failures[0]
    return arrivals
  } finally {
    await consumer.disconnect()
    await admin.disconnect()
  }
}
