import type { NumberedEvent } from './event.ts'

/**
 * An event as Debezium's outbox event router expects it, under the names that are its defaults.
 * `payload` is what the relay would publish; the rest routes it.
 */
export type RouterRow = {
  /** The CloudEvent's id, as far as a column holds it. */
  id: string
  /** The topic. */
  aggregatetype: string
  /** The record's key. */
  aggregateid: string
  type: string
  payload: string
}

/** What a VARCHAR(255) takes. */
const longest = 255

export const toRouterRow = ({ event, payload }: NumberedEvent, topic: string): RouterRow => ({
  id: event.id.slice(0, longest),
  aggregatetype: topic,
  aggregateid: event.partitionKey,
  type: event.type.slice(0, longest),
  payload,
})
