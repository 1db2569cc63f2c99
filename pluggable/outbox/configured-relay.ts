import type { Logger } from '#lib/logger.ts'
import { ComponentError } from '../host/errors.ts'
import type { Tracing } from '../host/tracing.ts'
import type { EventDefaults, Publish } from './event.ts'
import { createKafkaPublisher } from './kafka-publisher.ts'
import { kafkaConnection, type KafkaSettings } from './kafka-settings.ts'
import type { Backlog } from './metrics.ts'
import type { RelaySource } from './relay-source.ts'
import { relayDefaults, startRelay, type Relay, type RelayMetrics } from './relay.ts'
import { tracedPublisher } from './traced-publisher.ts'

type RelaySettings = KafkaSettings & {
  publish: Publish
  relay?: 'kafka' | 'none' | undefined
  relayBrokers?: string[] | undefined
  relayTopic?: string | undefined
  relaySource?: string | undefined
  relayIntervalMs: number
  maxEventBytes: number
}

/**
 * Starts the relay that a Component's metadata asks for. Returns undefined if the metadata names no
 * brokers or says `relay: none`.
 */
export function startConfiguredRelay<Position>(
  settings: RelaySettings,
  source: RelaySource<Position>,
  {
    component,
    metrics,
    tracing,
    log,
  }: { component: string; metrics: RelayMetrics; tracing: Tracing | undefined; log: Logger },
): Relay | undefined {
  if (settings.relay === 'none' || !settings.relayBrokers || !settings.relayTopic) return undefined
  if (settings.relaySkipVerify)
    log.warn("relaySkipVerify: Kafka's certificate is not checked, so anyone can pose as Kafka")
  const publisher = createKafkaPublisher(
    {
      ...kafkaConnection(settings),
      brokers: settings.relayBrokers,
      topic: settings.relayTopic,
      clientId: settings.relayClientId ?? `outbox-${component}`,
      sendLimitMs: relayDefaults.sendLimitMs,
    },
    log,
  )
  const traced = tracing ? tracedPublisher(publisher, tracing, { topic: settings.relayTopic, component }) : publisher
  return startRelay(source, traced, metrics, log, { ...relayDefaults, roundMs: settings.relayIntervalMs })
}

/**
 * Returns the topic to which Kafka Connect routes events if the metadata says `relay: none`, else
 * undefined.
 *
 * Throws INVALID_SETTING while events wait in the outbox: nothing would publish them any more, and
 * later events of their keys would overtake them.
 */
export async function routedTopic(
  { relay, relayTopic }: RelaySettings,
  source: { backlog(): Promise<Backlog> },
): Promise<string | undefined> {
  if (relay !== 'none') return undefined
  const { rows } = await source.backlog()
  if (rows > 0)
    throw new ComponentError(
      'INVALID_SETTING',
      `metadata field "relay": ${rows} events still wait to be relayed to Kafka; let them be published first`,
    )
  return relayTopic
}

/** Returns what the metadata says about events. */
export const eventDefaults = ({ publish, relaySource, relayTopic, maxEventBytes }: RelaySettings): EventDefaults => ({
  publish,
  ...(relaySource ? { source: relaySource } : {}),
  ...(relayTopic ? { topic: relayTopic } : {}),
  maxEventBytes,
  now: () => new Date(),
})
