import { randomUUID } from 'node:crypto'
import { Kafka, logLevel, Partitioners, type Consumer } from 'kafkajs'
import { discardedType, replayExtension } from '#lib/consumer.ts'
import { poll } from '../../platform/poll.ts'
import { settledType, type DeadLetter, type DeadRecord } from './dead-letters.ts'

export type DeadLetterTopic = ReturnType<typeof openDeadLetterTopic>

/** Opens the dead-letter topic of a service. Everything throws when Kafka does not respond. */
export function openDeadLetterTopic(brokers: string, service: string) {
  const topic = `${service}.dlq`
  const kafka = new Kafka({ brokers: brokers.split(','), logLevel: logLevel.NOTHING, retry: { retries: 2 } })

  async function send(to: string, key: string, events: object[]): Promise<void> {
    // Murmur2 as in the relay, so that a key keeps its partition.
    const createPartitioner = Partitioners.JavaCompatiblePartitioner
    const producer = kafka.producer({ createPartitioner, allowAutoTopicCreation: false })
    await producer.connect()
    try {
      await producer.send({
        topic: to,
        acks: -1,
        messages: events.map((event) => ({ key, value: JSON.stringify(event) })),
      })
    } finally {
      await producer.disconnect()
    }
  }

  const settle = ({ key }: DeadLetter, letters: DeadLetter[]) =>
    send(topic, key, [
      {
        ...envelope(settledType, key),
        data: { events: letters.map(({ id, partition, offset }) => ({ id, partition, offset: `${offset}` })) },
      },
    ])

  return {
    /** Returns all records of the topic, up to its end now. */
    async records(): Promise<DeadRecord[]> {
      const admin = kafka.admin()
      await admin.connect()
      const ends = await admin.fetchTopicOffsets(topic).finally(() => admin.disconnect())
      const missing = new Map(
        ends.flatMap(({ partition, low, high }) => (low === high ? [] : [[partition, BigInt(high)]])),
      )
      const records: DeadRecord[] = []
      if (missing.size === 0) return records
      const groupId = `sidecart-dlq-${randomUUID()}`
      const consumer: Consumer = kafka.consumer({ groupId, sessionTimeout: 6_000 })
      await consumer.connect()
      try {
        await consumer.subscribe({ topic, fromBeginning: true })
        await consumer.run({
          autoCommit: false,
          eachBatch: async ({ batch }) => {
            for (const { key, value, offset, timestamp, headers } of batch.messages)
              records.push({
                partition: batch.partition,
                offset: BigInt(offset),
                key: String(key ?? ''),
                value: String(value ?? ''),
                at: new Date(Number(timestamp)),
                topic: headers?.['__topic']?.toString(),
              })
            if (BigInt(batch.lastOffset()) + 1n >= (missing.get(batch.partition) ?? 0n)) missing.delete(batch.partition)
          },
        })
        await poll(`the end of ${topic}`, () => missing.size === 0, { timeoutMs: 30_000 })
      } finally {
        await consumer.disconnect()
      }
      return records
    },

    /**
     * Publishes events of one key again, in their order and for this service alone, and marks them
     * as settled. One that fails again comes back.
     */
    async replay(letters: DeadLetter[]): Promise<void> {
      for (const { id, topic: from, key, event } of letters) {
        if (from === undefined) throw new Error(`Event ${id} has no header __topic: where it came from is not known.`)
        await send(from, key, [{ ...event, [replayExtension]: service }])
      }
      await settle(letters[0]!, letters)
    },

    /** Gives events of one key up for good. `from` is a topic that the service subscribes to. */
    async discard(letters: DeadLetter[], from: string): Promise<void> {
      for (const { id, key } of letters)
        await send(from, key, [{ ...envelope(discardedType, key), subject: id, [replayExtension]: service, data: {} }])
      await settle(letters[0]!, letters)
    },
  }
}

const envelope = (type: string, key: string) => ({
  specversion: '1.0',
  id: randomUUID(),
  source: 'sidecart-cli',
  type,
  time: new Date().toISOString(),
  datacontenttype: 'application/json',
  partitionkey: key,
})
