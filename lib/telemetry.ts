import {
  context,
  isSpanContextValid,
  isValidTraceId,
  propagation,
  ROOT_CONTEXT,
  SpanKind,
  SpanStatusCode,
  trace,
  TraceFlags,
  type Attributes,
  type Context,
  type Span,
} from '@opentelemetry/api'
import type { Metadata } from '@grpc/grpc-js'
import { AppError, errorKinds } from './errors.ts'
import { createTraceSampler } from './trace-sampler.ts'

export { SpanKind }

const tracer = trace.getTracer('sidecart')

export type TelemetryOptions = {
  /** How many traces a second this process may start (`createTraceSampler`). */
  tracesPerSecond?: number
  /** Whether callers are strangers: then the traces that they start count as this process's own. */
  limitCallers?: boolean
}

/** Every order of a developer is traced, and a busy shop's traces cost a bounded amount. */
export const defaultTracesPerSecond = 20

/**
 * Sends this process's spans to `endpoint` by OTLP; without one, does nothing. Spans are created
 * explicitly in the three places where calls come in and go out (grpc-server, dapr, the gateway's
 * middleware): auto-instrumentation of ES modules needs loader hooks and cannot read the context
 * that Dapr sends (below). Returns a function that sends the remaining spans and stops.
 */
export async function startTelemetry(
  service: string,
  endpoint: string | undefined,
  { tracesPerSecond = defaultTracesPerSecond, limitCallers = false }: TelemetryOptions = {},
): Promise<() => Promise<void>> {
  if (!endpoint) return async () => {}
  const [{ NodeSDK }, { OTLPTraceExporter }] = await Promise.all([
    import('@opentelemetry/sdk-node'),
    import('@opentelemetry/exporter-trace-otlp-grpc'),
  ])
  const sdk = new NodeSDK({
    serviceName: service,
    traceExporter: new OTLPTraceExporter({ url: endpoint }),
    sampler: createTraceSampler(tracesPerSecond, { limitCallers }),
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
 * (4xx) do not mark the span as failed. Within a trace that is not sampled there is no new span:
 * `work` runs in its parent, so that most of a busy shop's calls cost nothing here, and what they
 * call learns from the parent's flag that it is not sampled either.
 */
export async function withSpan<T>(name: string, options: SpanOptions, work: (span: Span) => Promise<T>): Promise<T> {
  const { kind, attributes, parent = context.active() } = options
  const parentSpan = trace.getSpan(parent)
  if (parentSpan && isUnsampled(parentSpan))
    return parent === context.active() ? work(parentSpan) : context.with(parent, work, undefined, parentSpan)
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

/** Whether a span belongs to a trace, and the trace is not sampled. */
function isUnsampled(span: Span): boolean {
  const { traceId, traceFlags } = span.spanContext()
  return (traceFlags & TraceFlags.SAMPLED) === 0 && isValidTraceId(traceId)
}

/** Returns the active context, to go on with in `inTraceOf`. */
export const activeContext = (): Context => context.active()

/**
 * Runs `work` in the trace of a context, and with nothing else of it: not its caller's deadline,
 * since what is done for many callers at once has none of theirs.
 */
export function inTraceOf<T>(of: Context, work: () => T): T {
  const span = trace.getSpan(of)
  return context.with(span ? trace.setSpan(ROOT_CONTEXT, span) : ROOT_CONTEXT, work)
}

/** Adds attributes to the active span, by which its trace can be found. */
export const annotateSpan = (attributes: Attributes) => trace.getActiveSpan()?.setAttributes(attributes)

/** Returns the active span as a W3C traceparent, or undefined. */
export function traceparent(): string | undefined {
  const span = trace.getActiveSpan()?.spanContext()
  // Without a collector the tracer is OpenTelemetry's own that does nothing, and its ids are zeros.
  if (!span || !isSpanContextValid(span)) return undefined
  return `00-${span.traceId}-${span.spanId}-${(span.traceFlags & TraceFlags.SAMPLED) === 0 ? '00' : '01'}`
}

/** Returns the trace context of an HTTP request's headers. */
export function contextOfHeaders(headers: Record<string, string | string[] | undefined>): Context {
  return propagation.extract(ROOT_CONTEXT, headers)
}

/** Returns the trace context of a W3C traceparent; an empty one starts a new trace. */
export const contextOfTraceparent = (text: string): Context =>
  propagation.extract(ROOT_CONTEXT, text === '' ? {} : { traceparent: text })

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
