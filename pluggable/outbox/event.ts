import { randomUUID } from 'node:crypto'
import { ComponentError } from '../host/errors.ts'
import { parseJson, utf8 } from '../host/json.ts'
import { isTruthy } from '../host/settings.ts'
import type { Operation } from '../host/state-store.ts'

/** An event that waits for its number; everything else about it is decided. */
export type PendingEvent = {
  id: string
  type: string
  partitionKey: string
  /** The topic that the application chose, unless it is the Component's own. */
  topic?: string
  /** What its number counts: the partition key in the Component's topic, or in the event's own. */
  numberKey: string
  /** The most bytes that the CloudEvent can have, whatever its number. */
  bytes: number
  /** Returns the CloudEvent's text, given its number. Deterministic. */
  encode(sequence: number): string
}

/**
 * Which operations of a transaction are events: only the marked ones, or also every upsert as in
 * Dapr's built-in outbox.
 */
export type Publish = 'projections' | 'all'

export type EventDefaults = {
  publish: Publish
  /** CloudEvents `source`; by default the app id, which Dapr puts before every key. */
  source?: string
  /** The Component's topic. */
  topic?: string
  maxEventBytes: number
  now: () => Date
}

type Metadata = Record<string, string>

/**
 * The longest possible sequence. Sizes are checked with it, so that whether an event is accepted
 * never depends on its number.
 */
const longestSequence = '9'.repeat(20)
// Lower-case letters and digits, as CloudEvents requires of attribute names.
const extensionName = /^[a-z0-9]{1,20}$/
// Dapr's documentation names an attribute `my-custom-ce-field`. Its own instructions (contentType,
// ttlInSeconds) have capitals.
const plainName = /^[a-z0-9_-]{1,50}$/
const prefix = 'cloudevent.'
/** Attributes that only the outbox sets. */
const fixed = new Set(['specversion', 'datacontenttype', 'sequence', 'partitionkey', 'data', 'data_base64'])
const settable = {
  projections: new Set(['type', 'id', 'subject']),
  all: new Set(['type', 'id', 'subject', 'source', 'time', 'traceparent']),
}
const reserved = new Set([...fixed, ...settable.all])

/** What Kafka takes as a topic's name. */
export const topicName = /^[A-Za-z0-9._-]{1,249}$/

/**
 * Returns what the numbers of these events count. Neither a topic nor a partition key has a line
 * feed.
 */
export const numberKeyOf = (partitionKey: string, topic: string | undefined): string =>
  topic === undefined ? partitionKey : `${topic}\n${partitionKey}`

const isProjection = ({ metadata }: Operation): boolean => isTruthy(metadata['outbox.projection'])

/**
 * Splits a transaction into its state operations and its events. An operation with metadata
 * `outbox.projection: "true"` is an event, not a state write. With `publish: all` every upsert is
 * an event too, unless the transaction has projections of its key, which are published instead.
 *
 * An operation's own metadata `traceparent` is its event's trace, else the transaction's is;
 * `relayTopic` is its event's topic, else the Component's is.
 *
 * Throws EVENT_REFUSED for an event that is not JSON or has no type (neither is required with
 * `publish: all`) or whose topic cannot be one, EVENT_TOO_LARGE beyond `maxEventBytes`.
 */
export function splitEvents(
  operations: Operation[],
  metadata: Metadata,
  defaults: EventDefaults,
): { state: Operation[]; events: PendingEvent[] } {
  const state = operations.filter((operation) => !isProjection(operation))
  const published = defaults.publish === 'all' ? publishedOperations(operations) : operations.filter(isProjection)
  return { state, events: published.map((operation) => toEvent(operation, metadata, defaults)) }
}

/**
 * Returns the operations that are events with `publish: all`. A projection inherits the attributes
 * of its key's upsert that it does not set itself.
 */
function publishedOperations(operations: Operation[]): Operation[] {
  const projected = new Set(operations.filter(isProjection).map(({ key }) => key))
  const attributes = new Map<string, Metadata>()
  for (const operation of operations) {
    if (isProjection(operation) || operation.kind === 'delete') continue
    // The content type of the state says nothing about the projection's.
    const { contentType: _, ...rest } = operation.metadata
    attributes.set(operation.key, rest)
  }
  return operations
    .filter((operation) => isProjection(operation) || (operation.kind === 'set' && !projected.has(operation.key)))
    .map((operation) =>
      isProjection(operation)
        ? { ...operation, metadata: { ...attributes.get(operation.key), ...operation.metadata } }
        : operation,
    )
}

function toEvent(operation: Operation, transaction: Metadata, defaults: EventDefaults): PendingEvent {
  const refuse = (why: string) => new ComponentError('EVENT_REFUSED', `event of key "${operation.key}": ${why}`)
  if (operation.kind === 'delete') throw refuse('a delete cannot be an event')
  const all = defaults.publish === 'all'
  const given = operation.metadata
  const content = contentOf(
    operation.value,
    all ? given['contentType'] || given['datacontenttype'] : 'application/json',
  )
  if (!all && !content.isJson) throw refuse('value must be JSON')

  const separator = operation.key.indexOf('||')
  const appKey = separator < 0 ? operation.key : operation.key.slice(separator + 2)
  const appId = separator < 0 ? undefined : operation.key.slice(0, separator)
  // Code for the built-in outbox chose its keys without Kafka in mind.
  const partitionKey = given['partitionKey'] || (all ? appKey.replaceAll(/[^\x20-\x7e]+/g, encodeURIComponent) : appKey)
  if (Buffer.byteLength(partitionKey) > 1_024) throw refuse('partitionKey must be 1 to 1024 bytes')
  // daprd passes a record's key on in the gRPC header `__key`, which can hold nothing else: the
  // event would block its partition for every subscriber, for ever.
  if (!/^[\x20-\x7e]+$/.test(partitionKey))
    throw refuse('partitionKey must be printable ASCII (percent-encode the rest)')

  const topic = given['relayTopic'] === defaults.topic ? undefined : given['relayTopic'] || undefined
  if (topic !== undefined && !topicName.test(topic))
    throw refuse('metadata relayTopic must be a valid Kafka topic name')

  const set: Metadata = {}
  for (const [name, value] of Object.entries(given)) {
    const attribute = name.startsWith(prefix) ? name.slice(prefix.length) : undefined
    if (attribute !== undefined) {
      if (!settable[defaults.publish].has(attribute) && (reserved.has(attribute) || !extensionName.test(attribute))) {
        throw refuse(`metadata ${name} must not be set`)
      }
      if (value !== '') set[attribute] = value
    } else if (
      all &&
      plainName.test(name) &&
      name !== 'id' &&
      !fixed.has(name) &&
      value !== '' &&
      !given[`${prefix}${name}`]
    ) {
      // The built-in outbox makes attributes of plain names, but not of `id`, which several
      // operations may have.
      set[name] = value
    }
  }
  const {
    type = all ? 'com.dapr.event.sent' : undefined,
    id = randomUUID(),
    traceparent = given['traceparent'] || transaction['traceparent'],
    ...others
  } = set
  if (type === undefined) throw refuse('metadata cloudevent.type is required')

  const attributes: Metadata = {
    specversion: '1.0',
    id,
    source: defaults.source || appId || 'dapr',
    type,
    time: defaults.now().toISOString(),
    datacontenttype: content.type,
    // Only a real traceparent: without one Dapr's consumer starts no span, with an empty one a new
    // trace.
    ...(traceparent ? { traceparent } : {}),
    partitionkey: partitionKey,
    ...others,
  }

  const head = JSON.stringify(attributes).slice(0, -1)
  const encode = (sequence: number) => `${head},"sequence":"${sequence}",${content.member}}`
  const bytes =
    Buffer.byteLength(head) + Buffer.byteLength(content.member) + longestSequence.length + ',"sequence":"",}'.length
  if (bytes > defaults.maxEventBytes) {
    throw new ComponentError(
      'EVENT_TOO_LARGE',
      `event of key "${operation.key}" has ${bytes} bytes with its envelope, the limit is ${defaults.maxEventBytes}`,
    )
  }
  return {
    id,
    type,
    partitionKey,
    ...(topic === undefined ? {} : { topic }),
    numberKey: numberKeyOf(partitionKey, topic),
    bytes,
    encode,
  }
}

/**
 * Returns a value as a member of the envelope: JSON as is, other text as a string, bytes in base64.
 * Without a `type` it is text if it is valid UTF-8.
 */
function contentOf(value: Buffer, type: string | undefined): { member: string; type: string; isJson: boolean } {
  const mediaType = (type?.split(';')[0] ?? '').trim().toLowerCase()
  const text = mediaType === 'application/octet-stream' ? undefined : utf8(value)
  if (text === undefined)
    return {
      member: `"data_base64":"${value.toString('base64')}"`,
      type: type ?? 'application/octet-stream',
      isJson: false,
    }
  // The value's text is copied, not parsed: numbers keep the digits that the application wrote.
  if (mediaType === 'application/json' && parseJson(text))
    return { member: `"data":${text}`, type: type ?? '', isJson: true }
  return { member: `"data":${JSON.stringify(text)}`, type: type ?? 'text/plain', isJson: false }
}

/**
 * Returns writes in the order of their keys. All transactions then lock rows in the same order,
 * whatever order the application wrote them in, and two of them cannot wait for each other.
 */
export function inLockOrder<T extends { key: string }>(writes: T[]): T[] {
  return writes.toSorted((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0))
}

export type NumberedEvent = { event: PendingEvent; sequence: number; payload: string }

/**
 * Gives each event the next number of its `numberKey`, and returns the new last number of each key.
 * `last` has the previous ones of keys that had events before.
 */
export function numberEvents(
  events: PendingEvent[],
  last: Map<string, number>,
): { numbers: Map<string, number>; numbered: NumberedEvent[] } {
  const numbers = new Map<string, number>()
  const numbered = events.map((event) => {
    const sequence = (numbers.get(event.numberKey) ?? last.get(event.numberKey) ?? 0) + 1
    numbers.set(event.numberKey, sequence)
    return { event, sequence, payload: event.encode(sequence) }
  })
  return { numbers, numbered }
}
