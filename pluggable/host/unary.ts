import type { handleUnaryCall } from '@grpc/grpc-js'
import type { Attributes } from '@opentelemetry/api'
import type { Logger } from 'pino'
import type { CallMetrics } from './call-metrics.ts'
import { isEveryday, toComponentError, toServiceError, type ComponentErrorCode } from './errors.ts'
import type { Tracing } from './tracing.ts'

// A lost race is everyday business; what the operator must look at is a fault of the component or
// its settings.
const logLevel = (code: ComponentErrorCode) =>
  code === 'INTERNAL' || code === 'INVALID_SETTING' ? 'error' : isEveryday(code) ? 'debug' : 'warn'

/** Makes gRPC handlers from async functions, see createUnary. */
export type Unary = <Request, Response>(
  rpc: string,
  handle: (request: Request, component: string) => Promise<Response>,
) => handleUnaryCall<Request, Response>

type Traced = {
  metadata?: Record<string, string> | undefined
  items?: { metadata: Record<string, string> }[]
  operations?: unknown[]
  operation?: string
}

/**
 * daprd sends no trace of its own with a state call, only what the application put into the
 * request's metadata; with a binding's it does.
 */
const traceparentOf = ({ metadata, items }: Traced): string | undefined =>
  (metadata ?? items?.[0]?.metadata)?.['traceparent']

function batchSize({ items, operations }: Traced): Attributes {
  const size = (items ?? operations ?? []).length
  return size > 1 ? { 'db.operation.batch.size': size } : {}
}

/**
 * Makes gRPC handlers from async functions: they get the request and the name of the Component that
 * daprd speaks for, and what they throw becomes a gRPC error by toServiceError and a line in the
 * log. Each call is counted and timed, and gets a span.
 */
export function createUnary(o: {
  log: Logger
  metrics?: CallMetrics | undefined
  tracing?: Tracing | undefined
  /** What an instance's spans say about its database. */
  attributesOf: (component: string) => Attributes
}): Unary {
  const { log, metrics, tracing, attributesOf } = o
  return (rpc, handle) => (call, callback) => {
    const component = String(call.metadata.get('x-component-instance')[0] ?? '')
    const began = performance.now()
    const request = call.request as Traced
    const span = tracing?.call(request.operation ?? rpc, traceparentOf(request), () => ({
      'dapr.component': component,
      ...batchSize(request),
      ...attributesOf(component),
    }))
    handle(call.request, component).then(
      (response) => {
        callback(null, response)
        metrics?.observe(component, rpc, 'OK', performance.now() - began)
        span?.end()
      },
      (thrown: unknown) => {
        const error = toComponentError(thrown)
        const durationMs = performance.now() - began
        // The stack only where it helps: while a database is away every call fails in the same
        // place.
        const err = error.code === 'INTERNAL' ? { err: error } : {}
        const traceId = span ? { traceId: span.traceId } : {}
        log[logLevel(error.code)](
          {
            component,
            rpc,
            code: error.code,
            reason: error.message,
            durationMs: Math.round(durationMs),
            ...traceId,
            ...err,
          },
          'call failed',
        )
        callback(toServiceError(error))
        metrics?.observe(component, rpc, error.code, durationMs)
        span?.end(error)
      },
    )
  }
}
