import type { Logger } from 'pino'
import type { EventDefaults, Publish } from './event.ts'
import { createKafkaPublisher } from './kafka-publisher.ts'
import { relayDefaults, startRelay, type OutboxSource, type Relay, type RelayMetrics } from './relay.ts'

type RelaySettings = {
  publish: Publish
  relay?: 'kafka' | 'none' | undefined
  relayBrokers?: string[] | undefined
  relayTopic?: string | undefined
  relaySource?: string | undefined
  maxEventBytes: number
}

/** The relay that a Component's metadata asks for; undefined where it names no brokers, or says `relay: none`. */
export function startConfiguredRelay<Position>(
  settings: RelaySettings,
  outbox: OutboxSource<Position>,
  o: { instance: string; metrics: RelayMetrics; log: Logger },
): Relay | undefined {
  if (settings.relay === 'none' || !settings.relayBrokers || !settings.relayTopic) return undefined
  const publisher = createKafkaPublisher(
    { brokers: settings.relayBrokers, topic: settings.relayTopic, clientId: `outbox-${o.instance}`, sendLimitMs: relayDefaults.sendLimitMs },
    o.log,
  )
  return startRelay(outbox, publisher, o.metrics, o.log)
}

/** What the metadata says about events. */
export const eventDefaults = ({ publish, relaySource, maxEventBytes }: RelaySettings): EventDefaults => ({
  publish,
  ...(relaySource ? { source: relaySource } : {}),
  maxEventBytes,
  now: () => new Date(),
})
