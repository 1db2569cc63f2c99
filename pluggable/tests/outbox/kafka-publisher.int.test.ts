import { pino } from 'pino'
import { expect, test } from 'vitest'
import { startKafkaProxy } from '../../../platform/testing/tcp-proxy.ts'
import { poll } from '../../../platform/poll.ts'
import { createKafkaPublisher } from '../../outbox/kafka-publisher.ts'
import { createTopic } from '../stores.ts'

const brokers = process.env['TEST_KAFKA_BROKERS'] ?? ''

test('rows that were given up while connecting are not sent once connected', async () => {
  const topic = await createTopic(brokers)
  const proxy = await startKafkaProxy(brokers.split(',')[0] ?? '')
  const settings = { brokers: [`127.0.0.1:${proxy.port}`], topic: topic.name, clientId: 'test', sendLimitMs: 700 }
  const publisher = createKafkaPublisher(settings, pino({ level: 'silent' }))
  const row = (n: number) => ({ partitionKey: 'k', payload: Buffer.from(JSON.stringify({ n })) })
  try {
    proxy.silence()
    await expect(publisher.publish([row(1)])).rejects.toThrow('700 ms')
    await proxy.restore()
    await poll('a send that works', () =>
      publisher.publish([row(2)]).then(
        () => true,
        () => false,
      ),
    )
    await poll('its arrival', () => topic.published.some(({ event }) => event['n'] === 2))
    // There is no condition to poll for what must not arrive: the first connection's attempts end
    // within this time.
    await new Promise((resolve) => setTimeout(resolve, 2_500))
    expect(topic.published.map(({ event }) => event['n'])).toEqual([2])
  } finally {
    await publisher.close()
    await proxy.close()
    await topic.drop()
  }
})
