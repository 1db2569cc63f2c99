import type { PendingEvent } from './event.ts'

/**
 * An event as Debezium's outbox event router expects it, under the names that are its defaults. `payload` has the bytes
 * that the relay would publish; the rest routes them.
 */
export type RouterRow = {
  /** The CloudEvent's id, as far as a column holds it. */
  id: string
  /** The topic. */
  aggregatetype: string
  /** The record's key. */
  aggregateid: string
  type: string
  payload: Buffer
  /** Not Debezium's: with the record's key it tells rows apart. */
  sequence: number
}

/** What a VARCHAR(255) takes. */
const longest = 255

/** A numbered event as the event router's row. */
export const toRouterRow = (event: PendingEvent, sequence: number, topic: string): RouterRow => ({
  id: event.id.slice(0, longest),
  aggregatetype: topic,
  aggregateid: event.partitionKey,
  type: event.type.slice(0, longest),
  payload: event.encode(sequence),
  sequence,
})
