import { z } from 'zod'
import { wholeNumber } from '../host/settings.ts'

/** The metadata that both outbox stores share. Without `relayBrokers` a store keeps state only and takes no events. */
export const relaySettings = {
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
  relayTopic: z
    .string()
    .regex(/^[A-Za-z0-9._-]{1,249}$/, 'is not a Kafka topic name')
    .optional(),
  relaySource: z.string().min(1).optional(),
  /** Transactions that arrive together share a database transaction. */
  groupCommit: z.stringbool().default(true),
  maxEventBytes: wholeNumber(1_000, 16_000_000).default(1_000_000),
}

/** Brokers and topic belong together: one without the other is a mistake. */
export const relayIsComplete = <T extends { relayBrokers?: string[] | undefined; relayTopic?: string | undefined }>(value: T): boolean =>
  (value.relayBrokers === undefined) === (value.relayTopic === undefined)

export const relayIncomplete = { path: ['relayTopic'], message: 'relayBrokers and relayTopic must be set together' }
