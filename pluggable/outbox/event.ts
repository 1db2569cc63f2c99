import { randomUUID } from 'node:crypto'
import { ComponentError } from '../host/errors.ts'
import { parseJson, utf8 } from '../host/json.ts'
import { isTruthy } from '../host/settings.ts'
import type { Operation } from '../host/state-store.ts'

/** An event that awaits its number: everything else about it is decided. */
export type PendingEvent = {
  id: string
  type: string
  partitionKey: string
  /** How many bytes the CloudEvent has at most, whatever its number. */
  bytes: number
  /** The CloudEvent's text, given its number within the partition key. Equal for equal input. */
  encode(sequence: number): string
}

/**
 * Which operations of a transaction are events: those that say so, or also every upsert, as in
 * Dapr's built-in outbox.
 */
export type Publish = 'projections' | 'all'

export type EventDefaults = {
  publish: Publish
  /** CloudEvents `source`; without it the app id, which Dapr puts before every key. */
  source?: string
  maxEventBytes: number
  now: () => Date
}

type Metadata = Record<string, string>

/**
 * The longest a sequence can get: sizes are checked with it, so that an event's fate never depends
 * on its number.
 */
const longestSequence = '9'.repeat(20)
// Lower-case letters and digits, as CloudEvents asks of attribute names.
const extensionName = /^[a-z0-9]{1,20}$/
// Dapr's documentation names an attribute `my-custom-ce-field`. Its own instructions (contentType,
// ttlInSeconds) have capitals.
const plainName = /^[a-z0-9_-]{1,50}$/
const prefix = 'cloudevent.'
/** What nobody but the outbox can say. */
const fixed = new Set(['specversion', 'datacontenttype', 'sequence', 'partitionkey', 'data', 'data_base64'])
const settable = {
  projections: new Set(['type', 'id', 'subject']),
  all: new Set(['type', 'id', 'subject', 'source', 'time', 'traceparent']),
}
const reserved = new Set([...fixed, ...settable.all])

const isProjection = ({ metadata }: Operation): boolean => isTruthy(metadata['outbox.projection'])

/**
 * Splits a transaction into its state operations and its events: an operation with metadata
 * `outbox.projection: "true"` is no state write but an event. Where all is published every upsert
 * is an event too, unless the transaction has projections of its key: those are published instead.
 *
 * Throws EVENT_REFUSED for an event that is not JSON or that lacks a type (neither is asked for
 * where all is published), EVENT_TOO_LARGE beyond `maxEventBytes`.
 */
export function splitEvents(
  operations: Operation[],
  metadata: Metadata,
  defaults: EventDefaults,
): { state: Operation[]; events: PendingEvent[] } {
  const state = operations.filter((operation) => !isProjection(operation))
  const published = defaults.publish === 'all' ? toPublish(operations) : operations.filter(isProjection)
  return { state, events: published.map((operation) => toEvent(operation, metadata, defaults)) }
}

/**
 * The operations that are events where all is published. A projection has the attributes that its
 * key's upsert has, as far as it sets no others.
 */
function toPublish(operations: Operation[]): Operation[] {
  const projected = new Set(operations.filter(isProjection).map(({ key }) => key))
  const attributes = new Map<string, Metadata>()
  for (const operation of operations) {
    if (isProjection(operation) || operation.kind === 'delete') continue
    // The type of the state's content says nothing about the projection's.
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
  if (!all && !content.isJson) throw refuse('its value must be JSON')

  const separator = operation.key.indexOf('||')
  const appKey = separator < 0 ? operation.key : operation.key.slice(separator + 2)
  const appId = separator < 0 ? undefined : operation.key.slice(0, separator)
  // Code for the built-in outbox chose its keys without a thought of Kafka.
  const partitionKey = given['partitionKey'] || (all ? appKey.replaceAll(/[^\x20-\x7e]+/g, encodeURIComponent) : appKey)
  if (Buffer.byteLength(partitionKey) > 1_024) throw refuse('partitionKey is longer than 1024 bytes')
  // daprd hands a record's key on as the gRPC header `__key`, which cannot hold anything else: the
  // event would block its partition for every subscriber, without end.
  if (!/^[\x20-\x7e]+$/.test(partitionKey))
    throw refuse('partitionKey must be printable ASCII (percent-encode what is not)')

  const set: Metadata = {}
  for (const [name, value] of Object.entries(given)) {
    const attribute = name.startsWith(prefix) ? name.slice(prefix.length) : undefined
    if (attribute !== undefined) {
      if (!settable[defaults.publish].has(attribute) && (reserved.has(attribute) || !extensionName.test(attribute))) {
        throw refuse(`metadata ${name} cannot be set`)
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
      // The built-in outbox makes attributes of plain names, but not of `id`: it may stand on
      // several operations.
      set[name] = value
    }
  }
  const { type = all ? 'com.dapr.event.sent' : undefined, id = randomUUID(), ...others } = set
  if (type === undefined) throw refuse('metadata cloudevent.type is missing')

  const attributes: Metadata = {
    specversion: '1.0',
    id,
    source: defaults.source || appId || 'dapr',
    type,
    time: defaults.now().toISOString(),
    datacontenttype: content.type,
    // Without a traceparent Dapr's consumer starts no span, with an empty one it starts a new
    // trace: so only a real one.
    ...(transaction['traceparent'] ? { traceparent: transaction['traceparent'] } : {}),
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
      `event of key "${operation.key}" has ${bytes} bytes with its envelope, ${defaults.maxEventBytes} are allowed`,
    )
  }
  return { id, type, partitionKey, bytes, encode }
}

/**
 * A value as the envelope's member: JSON as it is, other text as a string, bytes in base64. Without
 * a `type` it is text, if it can be.
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
  // The value's own text goes in unparsed: numbers keep the digits that the application wrote.
  if (mediaType === 'application/json' && parseJson(text))
    return { member: `"data":${text}`, type: type ?? '', isJson: true }
  return { member: `"data":${JSON.stringify(text)}`, type: type ?? 'text/plain', isJson: false }
}

/**
 * What is written, in the order of its keys. Every transaction so locks rows in the same order,
 * whatever order the application wrote them in, and two of them cannot wait for each other.
 */
export function inLockOrder<T extends { key: string }>(writes: T[]): T[] {
  return writes.toSorted((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0))
}

export type NumberedEvent = { event: PendingEvent; sequence: number; payload: string }

/**
 * Gives each event its number, the next of its partition key, and answers the new last number of
 * each key. `last` has those of the keys that had events before.
 */
export function numberEvents(
  events: PendingEvent[],
  last: Map<string, number>,
): { numbers: Map<string, number>; numbered: NumberedEvent[] } {
  const numbers = new Map<string, number>()
  const numbered = events.map((event) => {
    const sequence = (numbers.get(event.partitionKey) ?? last.get(event.partitionKey) ?? 0) + 1
    numbers.set(event.partitionKey, sequence)
    return { event, sequence, payload: event.encode(sequence) }
  })
  return { numbers, numbered }
}
