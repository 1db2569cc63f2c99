import type { Logger } from 'pino'
import type { Tracing } from '../host/tracing.ts'
import type { EventDefaults } from './event.ts'
import { createKafkaPublisher } from './kafka-publisher.ts'
import { kafkaConnection, type KafkaSettings } from './kafka-settings.ts'
import { tracedPublisher } from './traced-publisher.ts'
import { relayDefaults, startRelay, type OutboxSource, type Relay, type RelayMetrics } from './relay.ts'

type RelaySettings = KafkaSettings & {
  relayBrokers?: string[] | undefined
  relayTopic?: string | undefined
  relaySource?: string | undefined
  maxEventBytes: number
}

/** The relay that a Component's metadata asks for; undefined where it names no brokers. */
export function startConfiguredRelay<Position>(
  settings: RelaySettings,
  outbox: OutboxSource<Position>,
  o: { instance: string; metrics: RelayMetrics; tracing: Tracing | undefined; log: Logger },
): Relay | undefined {
  if (!settings.relayBrokers || !settings.relayTopic) return undefined
  if (settings.relaySkipVerify) o.log.warn("relaySkipVerify: Kafka's certificate is not checked, so that anybody can pose as Kafka")
  const publisher = createKafkaPublisher(
    {
      ...kafkaConnection(settings),
      brokers: settings.relayBrokers,
      topic: settings.relayTopic,
      clientId: settings.relayClientId ?? `outbox-${o.instance}`,
      sendLimitMs: relayDefaults.sendLimitMs,
    },
    o.log,
  )
  const traced = o.tracing ? tracedPublisher(publisher, o.tracing, { topic: settings.relayTopic, instance: o.instance }) : publisher
  return startRelay(outbox, traced, o.metrics, o.log)
}

/** What the metadata says about events. */
export const eventDefaults = ({ relaySource, maxEventBytes }: RelaySettings): EventDefaults => ({
  ...(relaySource ? { source: relaySource } : {}),
  maxEventBytes,
  now: () => new Date(),
})
