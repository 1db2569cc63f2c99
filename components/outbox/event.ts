import { randomUUID } from 'node:crypto'
import { ComponentError } from '../host/errors.ts'
import { parseJson, utf8 } from '../host/json.ts'
import type { DeleteOperation, Operation, SetOperation } from '../host/state-store.ts'

/** An event that awaits its number: everything else about it is decided. */
export type PendingEvent = {
  id: string
  partitionKey: string
  /** How many bytes the CloudEvent has at most, whatever its number. */
  bytes: number
  /** The CloudEvent's text, given its number within the partition key. Equal for equal input. */
  encode(sequence: number): string
}

export type EventDefaults = {
  /** CloudEvents `source`; without it the app id, which Dapr puts before every key. */
  source?: string
  maxEventBytes: number
  now: () => Date
}

const projection = 'outbox.projection'
/** The longest a sequence can get: sizes are checked with it, so that an event's fate never depends on its number. */
const longestSequence = '9'.repeat(20)
// Lower-case letters and digits, as CloudEvents asks of attribute names.
const extensionName = /^[a-z0-9]{1,20}$/
const settable = new Set(['type', 'id', 'subject'])
const reserved = new Set(['specversion', 'source', 'time', 'datacontenttype', 'traceparent', 'sequence', 'partitionkey', 'data', 'data_base64'])

/**
 * Splits a transaction into its state operations and its events: an operation with metadata `outbox.projection: "true"` is
 * no state write but an event.
 *
 * Throws EVENT_REFUSED for an event that is not JSON or that lacks a type, EVENT_TOO_LARGE beyond `maxEventBytes`.
 */
export function splitEvents(
  operations: Operation[],
  metadata: Record<string, string>,
  defaults: EventDefaults,
): { state: Operation[]; events: PendingEvent[] } {
  const state: Operation[] = []
  const events: PendingEvent[] = []
  for (const operation of operations) {
    if (operation.metadata[projection] !== 'true') state.push(operation)
    else events.push(toEvent(operation, metadata, defaults))
  }
  return { state, events }
}

function toEvent(operation: SetOperation | DeleteOperation, transaction: Record<string, string>, defaults: EventDefaults): PendingEvent {
  const refuse = (why: string) => new ComponentError('EVENT_REFUSED', `event of key "${operation.key}": ${why}`)
  if (operation.kind === 'delete') throw refuse('a delete cannot be an event')
  const data = utf8(operation.value)
  if (data === undefined || !parseJson(data)) throw refuse('its value must be JSON')

  const separator = operation.key.indexOf('||')
  const appKey = separator < 0 ? operation.key : operation.key.slice(separator + 2)
  const appId = separator < 0 ? undefined : operation.key.slice(0, separator)
  const given = operation.metadata
  const partitionKey = given['partitionKey'] || appKey
  if (Buffer.byteLength(partitionKey) > 1_024) throw refuse('partitionKey is longer than 1024 bytes')
  // daprd hands a record's key on as the gRPC header `__key`, which cannot hold anything else: the event would block its
  // partition for every subscriber, without end.
  if (!/^[\x20-\x7e]+$/.test(partitionKey)) throw refuse('partitionKey must be printable ASCII (percent-encode what is not)')
  const type = given['cloudevent.type']
  if (!type) throw refuse('metadata cloudevent.type is missing')

  const attributes: Record<string, string> = {
    specversion: '1.0',
    id: given['cloudevent.id'] || randomUUID(),
    source: defaults.source || appId || 'dapr',
    type,
    ...(given['cloudevent.subject'] ? { subject: given['cloudevent.subject'] } : {}),
    time: defaults.now().toISOString(),
    datacontenttype: 'application/json',
    // Without a traceparent Dapr's consumer starts no span, with an empty one it starts a new trace: so only a real one.
    ...(transaction['traceparent'] ? { traceparent: transaction['traceparent'] } : {}),
    partitionkey: partitionKey,
  }
  for (const [name, value] of Object.entries(given)) {
    if (!name.startsWith('cloudevent.')) continue
    const attribute = name.slice('cloudevent.'.length)
    if (settable.has(attribute)) continue
    if (reserved.has(attribute) || !extensionName.test(attribute)) throw refuse(`metadata ${name} cannot be set`)
    attributes[attribute] = value
  }

  // The value's own text goes in unparsed: numbers keep the digits that the application wrote.
  const head = JSON.stringify(attributes).slice(0, -1)
  const encode = (sequence: number) => `${head},"sequence":"${sequence}","data":${data}}`
  const bytes = Buffer.byteLength(head) + operation.value.length + longestSequence.length + ',"sequence":"","data":}'.length
  if (bytes > defaults.maxEventBytes) {
    throw new ComponentError(
      'EVENT_TOO_LARGE',
      `event of key "${operation.key}" has ${bytes} bytes with its envelope, ${defaults.maxEventBytes} are allowed`,
    )
  }
  return { id: attributes['id'] ?? '', partitionKey, bytes, encode }
}

/**
 * What is written, in the order of its keys. Every transaction so locks rows in the same order, whatever order the
 * application wrote them in, and two of them cannot wait for each other.
 */
export function inLockOrder<T extends { key: string }>(writes: T[]): T[] {
  return writes.toSorted((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0))
}

export type NumberedEvent = { event: PendingEvent; sequence: number; payload: string }

/**
 * Gives each event its number, the next of its partition key, and answers the new last number of each key. `last` has
 * those of the keys that had events before.
 */
export function numberEvents(events: PendingEvent[], last: Map<string, number>): { numbers: Map<string, number>; numbered: NumberedEvent[] } {
  const numbers = new Map<string, number>()
  const numbered = events.map((event) => {
    const sequence = (numbers.get(event.partitionKey) ?? last.get(event.partitionKey) ?? 0) + 1
    numbers.set(event.partitionKey, sequence)
    return { event, sequence, payload: event.encode(sequence) }
  })
  return { numbers, numbered }
}
