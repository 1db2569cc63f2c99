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
import { isEveryday, type ComponentErrorCode } from './errors.ts'

/**
 * A span that somebody has to end: with nothing when its work was done, or with what went wrong.
 */
export type OpenSpan = { traceId: string; end(failure?: { code: ComponentErrorCode | string; message: string }): void }

export type Tracing = {
  /**
   * The span of a call, in the trace of whoever made it. Undefined for a caller without a trace, or
   * one that is not sampled: a trace for each read that nobody asked to follow would bury the
   * others.
   */
  call(rpc: string, parent: string | undefined, attributes: () => Attributes): OpenSpan | undefined
  /**
   * The span of one send to Kafka: a trace of its own, since it carries events of many, with a link
   * to each (128 at most). Undefined where none of them is sampled.
   */
  send(topic: string, traceparents: Iterable<string | undefined>, attributes: () => Attributes): OpenSpan | undefined
  close(): Promise<void>
}

/** OpenTelemetry's own default for the links of a span. */
const maxLinks = 128

/** The context that a W3C traceparent names, if its trace is sampled. */
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

/**
 * Spans to the OTLP endpoint (gRPC), named after OpenTelemetry's conventions for databases and
 * messaging. Undefined without an endpoint: then no SDK is loaded and a call costs one question
 * more. A collector that is away costs spans, never a call.
 */
export async function startTracing(service: string, endpoint: string | undefined): Promise<Tracing | undefined> {
  if (!endpoint) return undefined
  const close = await startTelemetry(service, endpoint)
  const tracer = trace.getTracer('sidecart-components')
  return {
    call(rpc, parent, attributes) {
      const context = sampledContext(parent)
      if (!context) return undefined
      const own = attributes()
      const target = own['db.collection.name']
      const options = { kind: SpanKind.CLIENT, attributes: { 'db.operation.name': rpc, ...own } }
      return openSpan(
        tracer.startSpan(
          target === undefined ? rpc : `${rpc} ${String(target)}`,
          options,
          trace.setSpanContext(ROOT_CONTEXT, context),
        ),
      )
    },
    send(topic, traceparents, attributes) {
      const links: Link[] = []
      for (const traceparent of traceparents) {
        const context = sampledContext(traceparent)
        if (context) links.push({ context })
        if (links.length === maxLinks) break
      }
      if (links.length === 0) return undefined
      const messaging = {
        'messaging.system': 'kafka',
        'messaging.operation.name': 'send',
        'messaging.operation.type': 'send',
        'messaging.destination.name': topic,
      }
      return openSpan(
        tracer.startSpan(
          `send ${topic}`,
          { kind: SpanKind.PRODUCER, links, attributes: { ...messaging, ...attributes() } },
          ROOT_CONTEXT,
        ),
      )
    },
    // What a collector that is away has not taken by then is lost; it must not keep the component
    // from ending.
    close: () => withDeadline(close(), 1_000, () => new Error('no answer from the collector')).catch(() => {}),
  }
}

function openSpan(span: Span): OpenSpan {
  return {
    traceId: span.spanContext().traceId,
    end(failure) {
      if (failure) {
        span.setAttribute('error.type', failure.code)
        // As in lib/telemetry.ts: what is the caller's own doing is no failed span.
        if (!isEveryday(failure.code)) span.setStatus({ code: SpanStatusCode.ERROR, message: failure.message })
      }
      span.end()
    },
  }
}
