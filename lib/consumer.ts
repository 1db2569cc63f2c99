import * as z from 'zod'
import {
  AppCallbackService,
  TopicEventResponse_TopicEventResponseStatus as statuses,
} from '#protos/dapr/proto/runtime/v1/appcallback.ts'
import { toAppError } from './errors.ts'
import { implement, type Implementation } from './grpc-server.ts'
import type { Logger } from './logger.ts'

/** A CloudEvent as a handler sees it. */
export type Event<T> = {
  id: string
  type: string
  subject: string
  /** Its number within its partition key, from 1 without gaps: shows a stale repeat. */
  sequence: number
  /** When it was committed, RFC 3339. */
  time: string
  data: T
}

/**
 * What becomes of an event.
 * - `success` acknowledges it: it was handled now or before, or does not concern this service.
 * - `retry`: it cannot be handled now. The sidecar delivers it again, and its partition waits.
 * - `drop`: it can never be handled. The sidecar moves it to the dead-letter topic.
 */
export type Verdict = 'success' | 'retry' | 'drop'

export type EventHandler = {
  schema: z.ZodType<unknown>
  handle: (event: Event<unknown>) => Promise<Verdict>
}

/** Handlers by event type. */
export type EventHandlers = Record<string, EventHandler>

/** Returns a handler of events whose data fits `schema`. */
export const on = <T>(schema: z.ZodType<T>, handle: (event: Event<T>) => Promise<Verdict>): EventHandler => ({
  schema,
  handle: handle as EventHandler['handle'],
})

const statusOf = { success: statuses.SUCCESS, retry: statuses.RETRY, drop: statuses.DROP } as const

/**
 * Serves the sidecar's subscriptions: passes each event to the handler of its type.
 * - Acknowledged: an event whose handler returns `success`, and an event of a type without handler.
 * - Retried: an event whose handler returns `retry` or throws. Whatever it needed is unavailable,
 *   so
 *   its partition waits, and an outage dead-letters nothing.
 * - Dropped to the dead-letter topic: an event whose handler returns `drop`, and one whose data is
 *   not JSON or does not fit the handler's schema.
 *
 * The Dapr JS SDK cannot do this: its gRPC server acknowledges an event whose handler throws.
 */
export function consume(log: Logger, handlers: EventHandlers): Implementation {
  // Only what a subscriber needs: the rest of AppCallback returns UNIMPLEMENTED.
  const { onTopicEvent, listTopicSubscriptions, listInputBindings } = AppCallbackService
  return implement(
    { onTopicEvent, listTopicSubscriptions, listInputBindings },
    {
      async onTopicEvent(request) {
        const handler = handlers[request.type]
        if (!handler) return { status: statuses.SUCCESS }
        const line = { topic: request.topic, eventId: request.id, eventType: request.type }
        const extensions = request.extensions ?? {}

        let json: unknown
        try {
          json = JSON.parse(Buffer.from(request.data).toString('utf8'))
        } catch (err) {
          log.error({ ...line, err }, 'event dropped: not JSON')
          return { status: statuses.DROP }
        }
        const parsed = handler.schema.safeParse(json)
        if (!parsed.success) {
          const issues = parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`)
          log.error({ ...line, issues }, 'event dropped: does not fit its schema')
          return { status: statuses.DROP }
        }
        try {
          const verdict = await handler.handle({
            id: request.id,
            type: request.type,
            subject: String(extensions.subject ?? ''),
            sequence: Number(extensions.sequence ?? 0),
            time: String(extensions.time ?? ''),
            data: parsed.data,
          })
          return { status: statusOf[verdict] }
        } catch (error) {
          const err = toAppError(error)
          log.warn({ ...line, code: err.code, err }, 'event will be retried')
          return { status: statuses.RETRY }
        }
      },
      // Subscriptions are declared in YAML (dapr-config/), and no input binding is used.
      listTopicSubscriptions: async () => ({ subscriptions: [] }),
      listInputBindings: async () => ({ bindings: [] }),
    },
  )
}
