import * as z from 'zod'
import {
  AppCallbackService,
  TopicEventResponse_TopicEventResponseStatus as verdicts,
} from '#protos/dapr/proto/runtime/v1/appcallback.ts'
import { toAppError } from './errors.ts'
import { implement, type Implementation } from './grpc-server.ts'
import type { Logger } from './logger.ts'

/** A CloudEvent as a handler sees it. */
export type Event<T> = {
  id: string
  type: string
  subject: string
  /** Number of the event in its partition key, from 1 without gaps; a stale repeat shows by it. */
  sequence: number
  /** RFC 3339, when it was committed. */
  time: string
  data: T
}

/**
 * `success`: handled, or already handled, or of no concern. `retry`: cannot be handled now; the
 * partition waits. `drop`: can never be handled; it goes to the dead-letter topic.
 */
export type Verdict = 'success' | 'retry' | 'drop'

export type EventHandler = (event: Event<unknown>) => Promise<Verdict>

/**
 * A handler of one type of event: data that does not fit `schema` can never be handled and is
 * dropped to the dead letters.
 */
export const on = <T>(schema: z.ZodType<T>, handle: (event: Event<T>) => Promise<Verdict>) => ({
  schema: schema as z.ZodType<unknown>,
  handle: handle as EventHandler,
})

/**
 * The sidecar's side of subscriptions: hands each event to the handler of its type. Types without a
 * handler are acknowledged. A handler that throws is retried: whatever it needed is away, so the
 * partition waits and nothing is dead-lettered by an outage. (Not by the JS SDK: its gRPC server
 * acknowledges an event whose handler throws.)
 */
export function consume(
  log: Logger,
  handlers: Record<string, { schema: z.ZodType<unknown>; handle: EventHandler }>,
): Implementation {
  // Only what a subscriber needs: the rest of AppCallback answers UNIMPLEMENTED.
  const { onTopicEvent, listTopicSubscriptions, listInputBindings } = AppCallbackService
  const callback = implement(
    { onTopicEvent, listTopicSubscriptions, listInputBindings },
    {
      async onTopicEvent(request) {
        const handler = handlers[request.type]
        if (!handler) return { status: verdicts.SUCCESS }
        const about = { topic: request.topic, eventId: request.id, eventType: request.type }
        const extensions = request.extensions ?? {}
        const verdict = await judge()
        return {
          status: verdict === 'success' ? verdicts.SUCCESS : verdict === 'retry' ? verdicts.RETRY : verdicts.DROP,
        }

        async function judge(): Promise<Verdict> {
          let json: unknown
          try {
            json = JSON.parse(Buffer.from(request.data).toString('utf8'))
          } catch (err) {
            log.error({ ...about, err }, 'event is not JSON: dropped')
            return 'drop'
          }
          const parsed = handler!.schema.safeParse(json)
          if (!parsed.success) {
            log.error(
              { ...about, issues: parsed.error.issues.map((i) => `${i.path.join('.')}: ${i.message}`) },
              'event does not fit its schema: dropped',
            )
            return 'drop'
          }
          try {
            return await handler!.handle({
              id: request.id,
              type: request.type,
              subject: String(extensions.subject ?? ''),
              sequence: Number(extensions.sequence ?? 0),
              time: String(extensions.time ?? ''),
              data: parsed.data,
            })
          } catch (error) {
            const err = toAppError(error)
            log.warn({ ...about, code: err.code, err }, 'event will be tried again')
            return 'retry'
          }
        }
      },
      // Subscriptions are declared in YAML (dapr-config/), and no input binding is used.
      listTopicSubscriptions: async () => ({ subscriptions: [] }),
      listInputBindings: async () => ({ bindings: [] }),
    },
  )
  return callback
}
