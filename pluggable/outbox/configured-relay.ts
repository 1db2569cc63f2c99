import type { Logger } from 'pino'
import { ComponentError } from '../host/errors.ts'
import type { Tracing } from '../host/tracing.ts'
import type { EventDefaults, Publish } from './event.ts'
import { createKafkaPublisher } from './kafka-publisher.ts'
import { kafkaConnection, type KafkaSettings } from './kafka-settings.ts'
import type { Backlog } from './metrics.ts'
import { relayDefaults, startRelay, type OutboxSource, type Relay, type RelayMetrics } from './relay.ts'
import { tracedPublisher } from './traced-publisher.ts'

type RelaySettings = KafkaSettings & {
  publish: Publish
  relay?: 'kafka' | 'none' | undefined
  relayBrokers?: string[] | undefined
  relayTopic?: string | undefined
  relaySource?: string | undefined
  maxEventBytes: number
}

/**
 * The relay that a Component's metadata asks for; undefined where it names no brokers, or says
 * `relay: none`.
 */
export function startConfiguredRelay<Position>(
  settings: RelaySettings,
  outbox: OutboxSource<Position>,
  o: { instance: string; metrics: RelayMetrics; tracing: Tracing | undefined; log: Logger },
): Relay | undefined {
  if (settings.relay === 'none' || !settings.relayBrokers || !settings.relayTopic) return undefined
  if (settings.relaySkipVerify)
    o.log.warn("relaySkipVerify: Kafka's certificate is not checked, so that anybody can pose as Kafka")
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
  const traced = o.tracing
    ? tracedPublisher(publisher, o.tracing, { topic: settings.relayTopic, instance: o.instance })
    : publisher
  return startRelay(outbox, traced, o.metrics, o.log)
}

/**
 * The topic that events are given to Kafka Connect for, where the metadata says `relay: none`; else
 * undefined.
 *
 * Throws INVALID_SETTING while events wait in the outbox: nobody would publish them any more, and
 * later ones of their keys would overtake them.
 */
export async function routedTopic(
  { relay, relayTopic }: RelaySettings,
  outbox: { backlog(): Promise<Backlog> },
): Promise<string | undefined> {
  if (relay !== 'none') return undefined
  const { rows } = await outbox.backlog()
  if (rows > 0)
    throw new ComponentError(
      'INVALID_SETTING',
      `metadata field "relay": ${rows} events still wait to be relayed to Kafka, let them be published first`,
    )
  return relayTopic
}

/** What the metadata says about events. */
export const eventDefaults = ({ publish, relaySource, maxEventBytes }: RelaySettings): EventDefaults => ({
  publish,
  ...(relaySource ? { source: relaySource } : {}),
  maxEventBytes,
  now: () => new Date(),
})
