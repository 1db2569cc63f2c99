import { Kafka, logLevel, Partitioners } from 'kafkajs'
import { cloudEvent, type Change } from './contender.ts'

/**
 * Connects kafkajs as an application without an outbox uses it: one message per call, acknowledged
 * by all in-sync replicas.
 */
export async function createDriverProducer(
  brokers: string,
  topic: string,
): Promise<{ publish: (change: Change) => Promise<void>; close: () => Promise<void> }> {
  const kafka = new Kafka({ brokers: brokers.split(','), logLevel: logLevel.NOTHING })
  const producer = kafka.producer({ createPartitioner: Partitioners.JavaCompatiblePartitioner })
  await producer.connect()
  return {
    publish: async (change) =>
      void (await producer.send({ topic, acks: -1, messages: [{ key: change.key, value: cloudEvent(change) }] })),
    close: () => producer.disconnect(),
  }
}
