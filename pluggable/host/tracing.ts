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
   * Starts the span of a call in its caller's trace. Returns undefined for a caller without a
   * sampled trace: a separate trace for each read would bury the others.
   */
  call(rpc: string, parent: string | undefined, attributes: () => Attributes): OpenSpan | undefined
  /**
   * Starts the span of one send to Kafka. It is a separate trace, since it carries events of many,
   * with links to them (at most 128). Returns undefined if none of them is sampled.
   */
  send(topic: string, traceparents: Iterable<string | undefined>, attributes: () => Attributes): OpenSpan | undefined
  close(): Promise<void>
}

/** OpenTelemetry's default limit for the links of a span. */
const maxLinks = 128

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

/**
 * Starts sending spans to the OTLP endpoint (gRPC), named by OpenTelemetry's conventions for
 * databases and messaging. Returns undefined without an endpoint: no SDK is loaded and a call costs
 * one check more. A collector that is down costs spans, never a call.
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
    // Spans that the collector has not accepted by then are lost: it must not keep the component
    // from stopping.
    close: () => withDeadline(close(), 1_000, () => new Error('no response from the collector')).catch(() => {}),
  }
}

function openSpan(span: Span): OpenSpan {
  return {
    traceId: span.spanContext().traceId,
    end(failure) {
      if (failure) {
        span.setAttribute('error.type', failure.code)
        // As in lib/telemetry.ts, a caller's mistake is not a failed span.
        if (!isRoutine(failure.code)) span.setStatus({ code: SpanStatusCode.ERROR, message: failure.message })
      }
      span.end()
    },
  }
}
