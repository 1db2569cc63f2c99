import type { NumberedEvent } from './event.ts'

/**
 * An event as Debezium's outbox event router expects it, with its default column names. `payload`
 * is what the relay would publish; the rest routes it.
 */
export type RouterRow = {
  /** The CloudEvent's id, cut to the column's length. */
  id: string
  /** The topic. */
  aggregatetype: string
  /** The record key. */
  aggregateid: string
  type: string
  payload: string
}

/** The length of a VARCHAR(255). */
const maxLength = 255

/** `topic` is the Component's, for events without one of their own. */
export const toRouterRow = ({ event, payload }: NumberedEvent, topic: string): RouterRow => ({
  id: event.id.slice(0, maxLength),
  aggregatetype: event.topic ?? topic,
  aggregateid: event.partitionKey,
  type: event.type.slice(0, maxLength),
  payload,
})
