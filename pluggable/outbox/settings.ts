import { z } from 'zod'
import { isTruthy, wholeNumber } from '../host/settings.ts'
import { topicName } from './event.ts'
import { kafkaSettings } from './kafka-settings.ts'

/**
 * The metadata that both outbox stores share. Without `relayBrokers` or `relay: none` a store keeps
 * state only and accepts no events.
 */
export const relaySettings = {
  publish: z.enum(['projections', 'all'], 'must be projections or all').default('projections'),
  relay: z.enum(['kafka', 'none'], 'must be kafka or none').optional(),
  relayBrokers: z
    .string()
    .transform((text) =>
      text
        .split(',')
        .map((broker) => broker.trim())
        .filter(Boolean),
    )
    .pipe(z.array(z.string().regex(/^[^\s:]+:\d{1,5}$/, 'must be host:port, separated by commas')).min(1))
    .optional(),
  relayTopic: z.string().regex(topicName, 'must be a valid Kafka topic name').optional(),
  relaySource: z.string().min(1).optional(),
  relayIntervalMs: wholeNumber(1, 10_000).default(10),
  ...kafkaSettings,
  /** Whether transactions that arrive together share a database transaction. */
  groupCommit: z.stringbool().default(true),
  maxEventBytes: wholeNumber(1_000, 16_000_000).default(1_000_000),
  // Dapr's own settings, which reach Init too.
  actorStateStore: z.string().optional(),
  outboxPublishPubsub: z.string().optional(),
}

/** Checks the fields against each other, once each is valid by itself. */
export function checkRelay(settings: z.output<z.ZodObject<typeof relaySettings>>, context: z.RefinementCtx): void {
  const { publish, relay, relayBrokers, relayTopic, actorStateStore, outboxPublishPubsub } = settings
  const problem = (field: keyof typeof relaySettings, message: string) =>
    context.addIssue({ code: 'custom', path: [field], message })
  if (relay === 'none' && relayTopic === undefined)
    problem('relayTopic', 'is required with relay: none; Kafka Connect routes by it')
  if (relay === 'kafka' && relayBrokers === undefined) problem('relayBrokers', 'is required with relay: kafka')
  if (relay !== 'none' && (relayBrokers === undefined) !== (relayTopic === undefined))
    problem('relayTopic', 'relayBrokers and relayTopic must be set together')
  if (publish === 'all' && relayTopic === undefined)
    problem('publish', '"all" requires relayTopic, and relayBrokers or relay: none')
  // Actors write their state, timers and reminders in transactions.
  if (publish === 'all' && isTruthy(actorStateStore))
    problem('publish', '"all" cannot be combined with actorStateStore: it would publish the internal state of actors')
  // daprd would take the events out of each transaction before it arrives here.
  if (relayTopic !== undefined && outboxPublishPubsub !== undefined)
    problem('outboxPublishPubsub', "Dapr's built-in outbox cannot be combined with relayTopic")
}
