import {
  isSpanContextValid,
  ROOT_CONTEXT,
  SpanKind,
  SpanStatusCode,
  trace,
  TraceFlags,
  type Attributes,
  type Link,
  type Span,
  type SpanContext,
} from '@opentelemetry/api'
import { startTelemetry } from '#lib/telemetry.ts'
import { withDeadline } from './deadline.ts'
import { isRoutine, type ComponentErrorCode } from './errors.ts'

/** A span that the caller ends: without an argument on success, or with the failure. */
export type OpenSpan = { traceId: string; end(failure?: { code: ComponentErrorCode | string; message: string }): void }

export type Tracing = {
  /**
   * Starts the span of a call in its caller's trace; one in each trace if the call works for
   * several (at most 128). Returns undefined for callers without a sampled trace: a separate trace
   * for each read would bury the others. `traceId` is that of the first.
   */
  call(rpc: string, parents: Iterable<string | undefined>, attributes: () => Attributes): OpenSpan | undefined
  /**
   * Starts the span of one send to Kafka. It is a separate trace, since it carries events of many,
   * with links to them (at most 128). Returns undefined if none of them is sampled. `topic` is
   * undefined if there are several.
   */
  send(
    topic: string | undefined,
    traceparents: Iterable<string | undefined>,
    attributes: () => Attributes,
  ): OpenSpan | undefined
  close(): Promise<void>
}

/** OpenTelemetry's default limit for the links of a span; here also for the spans of a call. */
const maxTraces = 128

/** Returns the context of a W3C traceparent if its trace is sampled, else undefined. */
export function sampledContext(traceparent: string | undefined): SpanContext | undefined {
  const match = /^(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-|$)/.exec(traceparent ?? '')
  if (!match) return undefined
  const context = {
    traceId: match[1] ?? '',
    spanId: match[2] ?? '',
    traceFlags: Number.parseInt(match[3] ?? '', 16),
    isRemote: true,
  }
  return isSpanContextValid(context) && (context.traceFlags & TraceFlags.SAMPLED) !== 0 ? context : undefined
}

/** Returns the distinct sampled contexts among these traceparents, as many as spans may have. */
function sampledContexts(traceparents: Iterable<string | undefined>): SpanContext[] {
  const contexts: SpanContext[] = []
  for (const traceparent of new Set(traceparents)) {
    const context = sampledContext(traceparent)
    if (context) contexts.push(context)
    if (contexts.length === maxTraces) break
  }
  return contexts
}

/**
 * Starts sending spans to the OTLP endpoint (gRPC), named by OpenTelemetry's conventions for
 * databases and messaging. Returns undefined without an endpoint: no SDK is loaded and a call costs
 * one check more. A collector that is down costs spans, never a call.
 */
export async function startTracing(service: string, endpoint: string | undefined): Promise<Tracing | undefined> {
  if (!endpoint) return undefined
  // The spans of a component follow their callers' decision, or that of an event that they link to.
  const close = await startTelemetry(service, endpoint, { tracesPerSecond: Infinity })
  const tracer = trace.getTracer('sidecart-components')
  return {
    call(rpc, parents, attributes) {
      const contexts = sampledContexts(parents)
      if (contexts.length === 0) return undefined
      const own = attributes()
      const target = own['db.collection.name']
      const options = { kind: SpanKind.CLIENT, attributes: { 'db.operation.name': rpc, ...own } }
      const name = target === undefined ? rpc : `${rpc} ${String(target)}`
      return openSpans(
        contexts.map((context) => tracer.startSpan(name, options, trace.setSpanContext(ROOT_CONTEXT, context))),
      )
    },
    send(topic, traceparents, attributes) {
      const links: Link[] = sampledContexts(traceparents).map((context) => ({ context }))
      if (links.length === 0) return undefined
      const messaging = {
        'messaging.system': 'kafka',
        'messaging.operation.name': 'send',
        'messaging.operation.type': 'send',
        ...(topic === undefined ? {} : { 'messaging.destination.name': topic }),
      }
      return openSpans([
        tracer.startSpan(
          topic === undefined ? 'send' : `send ${topic}`,
          { kind: SpanKind.PRODUCER, links, attributes: { ...messaging, ...attributes() } },
          ROOT_CONTEXT,
        ),
      ])
    },
    // Spans that the collector has not accepted by then are lost: it must not keep the component
    // from stopping.
    close: () => withDeadline(close(), 1_000, () => new Error('no response from the collector')).catch(() => {}),
  }
}

function openSpans(spans: Span[]): OpenSpan {
  return {
    traceId: spans[0]?.spanContext().traceId ?? '',
    end(failure) {
      for (const span of spans) {
        if (failure) {
          span.setAttribute('error.type', failure.code)
          // As in lib/telemetry.ts, a caller's mistake is not a failed span.
          if (!isRoutine(failure.code)) span.setStatus({ code: SpanStatusCode.ERROR, message: failure.message })
        }
        span.end()
      }
    },
  }
}
