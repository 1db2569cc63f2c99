import {
  Kafka,
  logLevel,
  Partitioners,
  type KafkaConfig,
  type Message,
  type Producer,
  type TopicMessages,
} from 'kafkajs'
import type { Logger } from '#lib/logger.ts'
import { withDeadline } from '../host/deadline.ts'
import { letIdleConnectionsSleep } from './idle-kafka-connections.ts'
import { explainKafkaError } from './kafka-errors.ts'
import type { PublishedRow, Publisher } from './relay.ts'

letIdleConnectionsSleep()

/** Murmur2, as in Kafka's Java clients, unlike Dapr's publisher. */
export const partitioner = Partitioners.JavaCompatiblePartitioner

/**
 * Creates a publisher to `topic` and to the topics that rows name: idempotent, acknowledged by all
 * in-sync replicas, one request at a time.
 *
 * kafkajs gives the sequence numbers of a failed send to whatever is sent next, so a broker can
 * mistake a different batch for a repeat and drop it. A producer whose send failed is therefore
 * never used again: the next send creates one with a new producer id. For the same reason its own
 * retries are few: by default an idempotent producer retries for ever.
 */
export function createKafkaPublisher(
  settings: Pick<KafkaConfig, 'ssl' | 'sasl'> & {
    brokers: string[]
    topic: string
    clientId: string
    sendLimitMs: number
  },
  log: Logger,
): Publisher {
  const { topic, sendLimitMs, ...connection } = settings
  const kafka = new Kafka({
    ...connection,
    connectionTimeout: 1_000,
    requestTimeout: 2_000,
    retry: { retries: 1, initialRetryTime: 50, maxRetryTime: 200 },
    // Errors reach the log through the relay; the warning about few retries is the choice explained
    // above.
    logLevel: logLevel.ERROR,
    logCreator: () => (entry) => log.debug({ from: 'kafkajs', reason: entry.log['error'] }, entry.log.message),
  })
  let producer: Promise<Producer> | undefined

  async function connect(): Promise<Producer> {
    const created = kafka.producer({
      idempotent: true,
      maxInFlightRequests: 1,
      allowAutoTopicCreation: false,
      createPartitioner: partitioner,
      // Required again.
      retry: { retries: 1, initialRetryTime: 50, maxRetryTime: 200 },
    })
    try {
      await created.connect()
      return created
    } catch (error) {
      created.disconnect().catch(() => {})
      throw error
    }
  }

  function discard(): void {
    const former = producer
    producer = undefined
    // Not awaited: disconnecting waits for responses that may never come.
    former?.then((each) => each.disconnect()).catch(() => {})
  }

  function byTopic(rows: PublishedRow[]): TopicMessages[] {
    const topics = new Map<string, Message[]>()
    for (const row of rows) {
      const name = row.topic ?? topic
      const messages = topics.get(name) ?? []
      topics.set(name, messages)
      // No headers: Dapr's consumer recognises a structured CloudEvent without them, and would pass
      // them on as gRPC metadata.
      messages.push({ key: row.partitionKey, value: row.payload })
    }
    return [...topics].map(([name, messages]) => ({ topic: name, messages }))
  }

  return {
    async publish(rows) {
      let late = false
      const send = async () => {
        producer ??= connect()
        const ready = await producer
        // Connected after all, but these rows were given up and another process may lead by now.
        if (late) return
        await ready.sendBatch({ acks: -1, timeout: 2_000, topicMessages: byTopic(rows) })
      }
      try {
        await withDeadline(send(), sendLimitMs, () => new Error(`no response from Kafka within ${sendLimitMs} ms`))
      } catch (error) {
        late = true
        discard()
        throw explainKafkaError(error)
      }
    },
    async close() {
      const former = producer
      producer = undefined
      if (former)
        await withDeadline(
          former.then((each) => each.disconnect()),
          1_000,
          () => new Error('slow disconnect'),
        ).catch(() => {})
    },
  }
}
