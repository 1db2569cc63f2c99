// The kafkajs consumer that measures all contenders.
import { randomUUID } from 'node:crypto'
import { Kafka, logLevel } from 'kafkajs'
import { withDeadline } from '../pluggable/host/deadline.ts'

export type Arrivals = {
  /** When each change's event first arrived (performance.now), by the change's id. */
  at: Map<string, number>
  close: () => Promise<void>
}

const idPattern = /bench-[0-9a-f]{8}-\d+/

/**
 * Reads a topic from its beginning. Resolves once the consumer has its partitions.
 * @throws Error when it gets none within 30 s
 */
export async function watchArrivals(brokers: string, topic: string): Promise<Arrivals> {
  const kafka = new Kafka({ brokers: brokers.split(','), logLevel: logLevel.NOTHING })
  const consumer = kafka.consumer({ groupId: `bench-${randomUUID()}` })
  const at = new Map<string, number>()
  const joined = new Promise<void>((resolve) => consumer.on(consumer.events.GROUP_JOIN, () => resolve()))
  try {
    await consumer.connect()
    await consumer.subscribe({ topic, fromBeginning: true })
    await consumer.run({
      // Committing offsets between batches added 8 ms to the measured latency at 100 events per
      // second, and 40 ms at 200.
      autoCommit: false,
      eachBatch: async ({ batch }) => {
        const now = performance.now()
        for (const { value } of batch.messages) {
          // Not parsed: the consumer must not be the bottleneck.
          const id = idPattern.exec(value?.toString('latin1') ?? '')?.[0]
          if (id !== undefined && !at.has(id)) at.set(id, now)
        }
      },
    })
    await withDeadline(joined, 30_000, () => new Error(`the consumer of ${topic} got no partitions within 30 s`))
  } catch (error) {
    // A connected consumer keeps the process from ending.
    await consumer.disconnect()
    throw error
  }
  return { at, close: () => consumer.disconnect() }
}
