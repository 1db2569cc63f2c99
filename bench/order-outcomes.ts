// When orders become CONFIRMED or CANCELLED, by their events: asking for each order by REST would
// take more of the machine than the order itself.
import { randomUUID } from 'node:crypto'
import { Kafka, logLevel } from 'kafkajs'
import { withDeadline } from '../pluggable/host/deadline.ts'

export type Outcomes = {
  /** When each order's last event arrived (performance.now), by order id. */
  confirmed: Map<string, number>
  cancelled: Map<string, number>
  /** Resolves once the order is CONFIRMED or CANCELLED. */
  terminal: (orderId: string) => Promise<void>
  close: () => Promise<void>
}

/**
 * Reads the topic `orders` from its end on. Resolves once the consumer has its partitions.
 * @throws Error when it gets none within 30 s
 */
export async function watchOutcomes(brokers: string): Promise<Outcomes> {
  const kafka = new Kafka({ brokers: brokers.split(','), logLevel: logLevel.NOTHING })
  const consumer = kafka.consumer({ groupId: `bench-orders-${randomUUID()}` })
  const confirmed = new Map<string, number>()
  const cancelled = new Map<string, number>()
  const waiting = new Map<string, () => void>()
  const joined = new Promise<void>((resolve) => consumer.on(consumer.events.GROUP_JOIN, () => resolve()))
  try {
    await consumer.connect()
    await consumer.subscribe({ topic: 'orders' })
    await consumer.run({
      // As in arrivals.ts: commits between batches would be measured too.
      autoCommit: false,
      eachBatch: async ({ batch }) => {
        const now = performance.now()
        for (const { key, value } of batch.messages) {
          const orderId = key?.toString() ?? ''
          // Not parsed: the load must not take the machine from the shop.
          const outcome = value?.includes('orders.order-confirmed.v1')
            ? confirmed
            : value?.includes('orders.order-cancelled.v1')
              ? cancelled
              : undefined
          if (outcome === undefined || outcome.has(orderId)) continue
          outcome.set(orderId, now)
          waiting.get(orderId)?.()
          waiting.delete(orderId)
        }
      },
    })
    await withDeadline(joined, 30_000, () => new Error('the consumer of orders got no partitions within 30 s'))
  } catch (error) {
    await consumer.disconnect()
    throw error
  }
  return {
    confirmed,
    cancelled,
    terminal: (orderId) =>
      confirmed.has(orderId) || cancelled.has(orderId)
        ? Promise.resolve()
        : new Promise((resolve) => waiting.set(orderId, resolve)),
    close: () => consumer.disconnect(),
  }
}
