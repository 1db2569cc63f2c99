import { Counter } from 'prom-client'
import * as z from 'zod'
import {
  AppCallbackService,
  TopicEventResponse_TopicEventResponseStatus as statuses,
  type TopicEventRequest,
} from '#protos/dapr/proto/runtime/v1/appcallback.ts'
import type { Batches, Draft } from './batches.ts'
import { AppError, toAppError } from './errors.ts'
import { implement, type Implementation } from './grpc-server.ts'
import type { Logger } from './logger.ts'
import { contextOfTraceparent, SpanKind, withSpan } from './telemetry.ts'

/** A CloudEvent as a handler sees it. */
export type Event<T> = {
  id: string
  type: string
  topic: string
  subject: string
  /** Its number within its partition key, from 1 without gaps: shows a stale repeat. */
  sequence: number
  /** When it was committed, RFC 3339. */
  time: string
  data: T
}

/**
 * What becomes of an event.
 * - `done`: it is acknowledged, once what the handler drafted is committed. `line` is logged if
 *   something changed, and `afterCommit` runs, for work that must not be part of handling an event.
 * - `impossible`: it can never be handled, and changes nothing. It moves to the dead-letter topic.
 */
export type Verdict =
  | { outcome: 'done'; line?: object; afterCommit?: () => void }
  | { outcome: 'impossible'; reason: string }

/** The event was handled before, or does not concern this service. */
export const ignored: Verdict = { outcome: 'done' }

type Rules<T> = {
  /** The keys that `decide` reads. */
  keys: (event: Event<T>) => string[]
  /** Further keys, named by what these hold (lib/batches.ts). */
  moreKeys?: (event: Event<T>, known: Pick<Draft, 'get'>) => readonly string[]
  /** Keys of these that hardly ever exist (lib/batches.ts). */
  presumedAbsent?: (event: Event<T>) => string[]
  decide: (event: Event<T>, draft: Draft) => Verdict
}

export type EventHandler = { schema: z.ZodType<unknown> } & Rules<unknown>

/** Handlers by event type. */
export type EventHandlers = Record<string, EventHandler>

/** Returns a handler of events whose data fits `schema`. */
export const on = <T>(schema: z.ZodType<T>, rules: Rules<T>): EventHandler =>
  ({ schema, ...rules }) as unknown as EventHandler

/**
 * A key whose events wait for an operator, as stored: the first of them could not be handled
 * because of a mistake of ours, and the others stay behind it.
 */
const parkedSchema = z.object({
  /** Ids of the events, in order. All of them are in the dead-letter topic. */
  waiting: z.array(z.string()),
  /** How often the first one has failed. */
  attempts: z.int(),
})
/** Of an error's text, in characters. */
const maxReason = 500
const parkedKey = (key: string) => `parked:{${key}}`

/** The type of the event that says why a key was parked. It is in the dead-letter topic too. */
export const parkedType = 'sidecart.event-parked.v1'
/** The type that removes an event from those that wait; its subject is that event's id. */
export const discardedType = 'sidecart.event-discarded.v1'
/** CloudEvents extension: the app id that an event is published again for. Others ignore it. */
export const replayExtension = 'replayfor'

const parkedTotal = new Counter({
  name: 'events_parked_total',
  help: 'Events that wait in the dead-letter topic because their handler failed, and those behind them',
  labelNames: ['topic'],
})

/** An event as the sidecar delivers it. */
export type Delivery = Pick<TopicEventRequest, 'id' | 'type' | 'data' | 'extensions'> & { topic: string }
type Status = (typeof statuses)[keyof typeof statuses]
const parked = { outcome: 'parked' } as const

/**
 * Serves the sidecar's subscriptions. An event is a work (lib/batches.ts): what waits is read at
 * once, decided one by one in order, and committed as one transaction. A handler is therefore
 * synchronous and pure: it reads and writes its draft, and may run again.
 *
 * - Acknowledged: an event whose handler returns `done`, and an event of a type without handler.
 * - Retried, and its partition waits: an event that could not be read or committed because
 *   something is unavailable. An outage dead-letters nothing. Later events of its key are retried
 *   behind it.
 * - Moved to the dead-letter topic: an event that is `impossible`, and one whose data is not JSON
 *   or does not fit the handler's schema.
 * - Parked: an event whose handler throws, which is a mistake of ours and no outage. It moves to
 *   the dead-letter topic, as do all later ones of its key, and the partition goes on. `npm run
 *   dlq` brings them back in their order.
 *
 * The Dapr JS SDK cannot do this: its gRPC server acknowledges an event whose handler throws.
 */
export function consume(
  { name, log, batches }: { name: string; log: Logger; batches: Batches },
  handlers: EventHandlers,
): Implementation {
  /**
   * Decides about an event, unless its key is parked: then only the first that waits has its turn.
   */
  function decideInTurn(handler: EventHandler, event: Event<unknown>, key: string, isReplay: boolean, draft: Draft) {
    const before = key === '' ? undefined : draft.get(parkedKey(key), parkedSchema)
    const { waiting, attempts } = before ?? { waiting: [] as string[], attempts: 0 }
    // One that comes again and does not wait was dropped, or handled since; handling it twice is
    // harmless, as for every event.
    const isItsTurn = isReplay && (waiting[0] === event.id || !waiting.includes(event.id))
    if (waiting.length > 0 && !isItsTurn) {
      if (!waiting.includes(event.id)) draft.put(parkedKey(key), { waiting: [...waiting, event.id], attempts })
      return parked
    }
    const verdict = handler.decide(event, draft)
    if (verdict.outcome === 'done') leave(draft, key, waiting, event.id)
    return verdict
  }

  /** Removes an event from those that wait; the last one ends the parking of its key. */
  function leave(draft: Draft, key: string, waiting: string[], id: string): void {
    if (waiting.length === 0) return
    const rest = waiting.filter((each) => each !== id)
    if (rest.length === 0) draft.delete(parkedKey(key))
    else draft.put(parkedKey(key), { waiting: rest, attempts: 0 })
  }

  /** Records that an event's handler failed, and says so in the dead-letter topic. */
  function park(event: Event<unknown>, topic: string, key: string, reason: string): Promise<void> {
    return batches.commit({
      keys: [parkedKey(key)],
      decide(draft) {
        const { waiting, attempts } = draft.get(parkedKey(key), parkedSchema) ?? {
          waiting: [] as string[],
          attempts: 0,
        }
        const others = waiting.filter((id) => id !== event.id)
        draft.put(parkedKey(key), { waiting: [event.id, ...others], attempts: attempts + 1 })
        const data = { eventId: event.id, eventType: event.type, topic, reason, attempt: attempts + 1 }
        draft.publish({ type: parkedType, topic: `${name}.dlq`, key, subject: event.id, data })
      },
    })
  }

  async function handle({ id, type, topic, data, extensions = {} }: Delivery): Promise<Status> {
    const attribute = (name: string) => String(extensions[name] ?? '')
    const replayFor = attribute(replayExtension)
    if (replayFor !== '' && replayFor !== name) return statuses.SUCCESS
    const key = attribute('partitionkey')
    if (type === discardedType) return discard(key, attribute('subject'))
    const handler = handlers[type]
    if (!handler) return statuses.SUCCESS
    const line = { topic, eventId: id, eventType: type }

    const read = readData(handler.schema, { id, type, topic, data, extensions }, log)
    if (!read) return statuses.DROP
    const event: Event<unknown> = {
      id,
      type,
      topic,
      subject: attribute('subject'),
      sequence: Number(extensions['sequence'] ?? 0),
      time: attribute('time'),
      data: read.data,
    }
    try {
      const verdict = await batches.commit({
        keys: key === '' ? handler.keys(event) : [...handler.keys(event), parkedKey(key)],
        ...(handler.moreKeys && { moreKeys: (known) => handler.moreKeys!(event, known) }),
        ...(handler.presumedAbsent && { presumedAbsent: handler.presumedAbsent(event) }),
        ...(key !== '' && { order: key }),
        decide: (draft) => decideInTurn(handler, event, key, replayFor !== '', draft),
      })
      if (verdict.outcome === 'parked') {
        parkedTotal.inc({ topic })
        log.warn({ ...line, key }, 'event parked behind an earlier one of its key')
        return statuses.DROP
      }
      if (verdict.outcome === 'impossible') {
        log.error({ ...line, reason: verdict.reason }, 'event dropped: contradicts what is stored')
        return statuses.DROP
      }
      verdict.afterCommit?.()
      if (verdict.line) log.info({ ...line, ...verdict.line }, 'event')
      return statuses.SUCCESS
    } catch (error) {
      if (error instanceof AppError && error.kind !== 'internal' && error.kind !== 'rejected') {
        log.warn({ ...line, code: error.code, err: error }, 'event will be retried')
        return statuses.RETRY
      }
      if (key !== '') {
        const reason = error instanceof Error ? `${error.name}: ${error.message}` : String(error)
        // While the store is away the whole event is retried.
        const recorded = await park(event, topic, key, reason.slice(0, maxReason)).then(
          () => true,
          () => false,
        )
        if (!recorded) return statuses.RETRY
      }
      parkedTotal.inc({ topic })
      log.error({ ...line, key, err: toAppError(error) }, 'event parked: its handler failed')
      return statuses.DROP
    }
  }

  /** Forgets an event that waits: an operator has decided that it is never to be handled. */
  async function discard(key: string, id: string): Promise<Status> {
    try {
      await batches.commit({
        keys: [parkedKey(key)],
        decide(draft) {
          const { waiting } = draft.get(parkedKey(key), parkedSchema) ?? { waiting: [] as string[] }
          if (waiting.includes(id)) leave(draft, key, waiting, id)
        },
      })
      log.warn({ eventId: id, key }, 'event discarded by an operator')
      return statuses.SUCCESS
    } catch (err) {
      log.warn({ err, eventId: id, key }, 'discarding will be retried')
      return statuses.RETRY
    }
  }

  return serveSubscriptions(handle)
}

/**
 * Returns an event's data, parsed; undefined, and a line in the log, if it does not fit `schema`.
 */
export function readData<T>(schema: z.ZodType<T>, delivery: Delivery, log: Logger): { data: T } | undefined {
  const { id, type, topic, data } = delivery
  const line = { topic, eventId: id, eventType: type }
  let json: unknown
  try {
    json = JSON.parse(Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('utf8'))
  } catch (err) {
    log.error({ ...line, err }, 'event dropped: not JSON')
    return undefined
  }
  const parsed = schema.safeParse(json)
  if (parsed.success) return { data: parsed.data }
  const issues = parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`)
  log.error({ ...line, issues }, 'event dropped: does not fit its schema')
  return undefined
}

/**
 * Serves the sidecar's subscriptions, single and in bulk. `handle` decides about one event; it must
 * not throw. For services with a state store `consume` does more.
 */
export function serveSubscriptions(handle: (delivery: Delivery) => Promise<Status>): Implementation {
  /** Handles one event of a bulk in a span of its own, since the call has one trace for all. */
  const handleEntry = (delivery: Delivery) => {
    const parent = contextOfTraceparent(String(delivery.extensions?.['traceparent'] ?? ''))
    return withSpan(`${delivery.type} handle`, { kind: SpanKind.CONSUMER, parent }, () => handle(delivery))
  }

  // Only what a subscriber needs: the rest of AppCallback returns UNIMPLEMENTED.
  const { onTopicEvent, onBulkTopicEvent, listTopicSubscriptions, listInputBindings } = AppCallbackService
  return implement(
    { onTopicEvent, onBulkTopicEvent, listTopicSubscriptions, listInputBindings },
    {
      onTopicEvent: async (request) => ({ status: await handle(request) }),
      async onBulkTopicEvent({ topic, entries }) {
        const handled = entries.map(async ({ entryId, event }) => {
          // Without `rawPayload` every entry is a CloudEvent.
          const status = event?.$case === 'cloudEvent' ? await handleEntry({ ...event.value, topic }) : statuses.DROP
          return { entryId, status }
        })
        return { statuses: await Promise.all(handled) }
      },
      // Subscriptions are declared in YAML (dapr-config/), and no input binding is used.
      listTopicSubscriptions: async () => ({ subscriptions: [] }),
      listInputBindings: async () => ({ bindings: [] }),
    },
  )
}
