import {
  context,
  propagation,
  ROOT_CONTEXT,
  SpanKind,
  SpanStatusCode,
  trace,
  type Attributes,
  type Context,
  type Span,
} from '@opentelemetry/api'
import type { Metadata } from '@grpc/grpc-js'
import { AppError, errorKinds } from './errors.ts'

export { SpanKind }

const tracer = trace.getTracer('sidecart')

/**
 * Sends this process's spans to `endpoint` by OTLP; without one, does nothing. Spans are created
 * explicitly in the three places where calls come in and go out (grpc-server, dapr, the gateway's
 * middleware): auto-instrumentation of ES modules needs loader hooks and cannot read the context
 * that Dapr sends (below). Returns a function that sends the remaining spans and stops.
 */
export async function startTelemetry(service: string, endpoint: string | undefined): Promise<() => Promise<void>> {
  if (!endpoint) return async () => {}
  const [{ NodeSDK }, { OTLPTraceExporter }] = await Promise.all([
    import('@opentelemetry/sdk-node'),
    import('@opentelemetry/exporter-trace-otlp-grpc'),
  ])
  const sdk = new NodeSDK({
    serviceName: service,
    traceExporter: new OTLPTraceExporter({ url: endpoint }),
    instrumentations: [],
    autoDetectResources: false,
  })
  sdk.start()
  // An unavailable collector must not keep a service from stopping.
  return () => sdk.shutdown().catch(() => {})
}

export type SpanOptions = { kind?: SpanKind; attributes?: Attributes; parent?: Context }

/**
 * Runs `work` in a new span, which ends with it and records its error. The caller's own mistakes
 * (4xx) do not mark the span as failed.
 */
export async function withSpan<T>(name: string, options: SpanOptions, work: (span: Span) => Promise<T>): Promise<T> {
  const { kind, attributes, parent = context.active() } = options
  return tracer.startActiveSpan(name, { kind, attributes }, parent, async (span) => {
    try {
      return await work(span)
    } catch (error) {
      span.recordException(error as Error)
      if (!(error instanceof AppError) || errorKinds[error.kind].http >= 500)
        span.setStatus({ code: SpanStatusCode.ERROR, message: error instanceof Error ? error.message : String(error) })
      throw error
    } finally {
      span.end()
    }
  })
}

/** Adds attributes to the active span, by which its trace can be found. */
export const annotateSpan = (attributes: Attributes) => trace.getActiveSpan()?.setAttributes(attributes)

/** Returns the active span as a W3C traceparent, or undefined. */
export function traceparent(): string | undefined {
  const carrier: Record<string, string> = {}
  propagation.inject(context.active(), carrier)
  return carrier.traceparent
}

/** Returns the trace context of an HTTP request's headers. */
export function contextOfHeaders(headers: Record<string, string | string[] | undefined>): Context {
  return propagation.extract(ROOT_CONTEXT, headers)
}

/**
 * Returns the trace context of a call that a sidecar delivered. daprd appends its traceparent to
 * the caller's (https://github.com/dapr/dapr/issues/10462), so Node sees two: the last textual one
 * is the sidecar's. The binary header is single and comes first.
 */
export function contextOfMetadata(metadata: Metadata): Context {
  const binary = metadata.get('grpc-trace-bin')[0]
  const text = binary instanceof Buffer ? traceparentOfBinary(binary) : undefined
  const last = metadata.get('traceparent').at(-1)?.toString().split(',').at(-1)?.trim()
  return propagation.extract(ROOT_CONTEXT, { traceparent: text ?? last })
}

/**
 * Returns the W3C form of OpenCensus' binary format: version 0, then field 0 (16 bytes of trace
 * id), field 1 (8 bytes of span id), field 2 (1 byte of flags).
 * https://github.com/census-instrumentation/opencensus-specs/blob/master/encodings/BinaryEncoding.md
 */
export function traceparentOfBinary(b: Buffer): string | undefined {
  if (b.length < 29 || b[0] !== 0 || b[1] !== 0 || b[18] !== 1 || b[27] !== 2) return undefined
  return `00-${b.toString('hex', 2, 18)}-${b.toString('hex', 19, 27)}-${b.toString('hex', 28, 29)}`
}
