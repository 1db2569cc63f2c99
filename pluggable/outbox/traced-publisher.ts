import type { Tracing } from '../host/tracing.ts'
import type { Publisher } from './relay.ts'

const partitionKey = Buffer.from(',"partitionkey":"')
const traceparent = /,"traceparent":"([0-9a-f-]{55})"$/
const traceparentLength = ',"traceparent":""'.length + 55

/**
 * Finds the traceparent in an event's envelope without parsing it: it comes right before the
 * partition key (event.ts). The text of a key or value cannot look like it, since JSON escapes
 * quotes and `data` comes last.
 */
export function traceparentOf(payload: Buffer): string | undefined {
  const end = payload.indexOf(partitionKey)
  return end < 0
    ? undefined
    : traceparent.exec(payload.toString('latin1', Math.max(0, end - traceparentLength), end))?.[1]
}

/** Gives each send its own trace, with links to the commits whose events it carries. */
export function tracedPublisher(
  publisher: Publisher,
  tracing: Tracing,
  { topic, component }: { topic: string; component: string },
): Publisher {
  return {
    ...publisher,
    async publish(rows) {
      const attributes = () => ({ 'dapr.component': component, 'messaging.batch.message_count': rows.length })
      const [first = topic, ...more] = new Set(rows.map((row) => row.topic ?? topic))
      const span = tracing.send(
        more.length === 0 ? first : undefined,
        Iterator.from(rows).map(({ payload }) => traceparentOf(payload)),
        attributes,
      )
      try {
        await publisher.publish(rows)
        span?.end()
      } catch (error) {
        span?.end({
          code: error instanceof Error ? error.name : 'unknown',
          message: error instanceof Error ? error.message : String(error),
        })
        throw error
      }
    },
  }
}
