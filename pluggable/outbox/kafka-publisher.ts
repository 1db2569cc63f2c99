import { Kafka, logLevel, Partitioners, type KafkaConfig, type Producer } from 'kafkajs'
import type { Logger } from 'pino'
import { withDeadline } from '../host/deadline.ts'
import { explainKafkaError } from './kafka-errors.ts'
import type { Publisher } from './relay.ts'

/** Murmur2: the one of Kafka's Java clients, not of Dapr's publisher. */
export const partitioner = Partitioners.JavaCompatiblePartitioner

/**
 * Publishes to one topic with acks from all in-sync replicas, idempotent, one request at a time.
 *
 * kafkajs gives the sequence numbers of a failed send to whatever is sent next, so that a broker
 * can take a different batch for a repeat and drop it. A producer whose send failed is therefore
 * never used again: the next send makes a new one, with a new producer id. For the same reason its
 * own retries are few: by default an idempotent producer retries without end.
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
    // Its errors reach the log through the relay; its warning about few retries is the choice
    // explained above.
    logLevel: logLevel.ERROR,
    logCreator: () => (entry) => log.debug({ from: 'kafkajs', reason: entry.log['error'] }, entry.log.message),
  })
  let producer: Promise<Producer> | undefined

  async function connect(): Promise<Producer> {
    const made = kafka.producer({
      idempotent: true,
      maxInFlightRequests: 1,
      allowAutoTopicCreation: false,
      createPartitioner: partitioner,
      // It insists on one.
      retry: { retries: 1, initialRetryTime: 50, maxRetryTime: 200 },
    })
    try {
      await made.connect()
      return made
    } catch (error) {
      made.disconnect().catch(() => {})
      throw error
    }
  }

  function discard(): void {
    const former = producer
    producer = undefined
    // Not awaited: disconnecting waits for requests that may never be answered.
    former?.then((each) => each.disconnect()).catch(() => {})
  }

  return {
    async publish(rows) {
      let late = false
      const send = async () => {
        producer ??= connect()
        const ready = await producer
        // Connected after all, when these rows have been given up and somebody else may lead.
        if (late) return
        await ready.send({
          topic,
          acks: -1,
          timeout: 2_000,
          // No headers: Dapr's consumer knows a structured CloudEvent without them, and would hand
          // them on as gRPC metadata.
          messages: rows.map((row) => ({ key: row.partitionKey, value: row.payload })),
        })
      }
      try {
        await withDeadline(send(), sendLimitMs, () => new Error(`no answer from Kafka within ${sendLimitMs} ms`))
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
