import type { handleUnaryCall } from '@grpc/grpc-js'
import type { Attributes } from '@opentelemetry/api'
import type { Logger } from '#lib/logger.ts'
import type { CallMetrics } from './call-metrics.ts'
import { isRoutine, toComponentError, toServiceError, type ComponentErrorCode } from './errors.ts'
import type { Tracing } from './tracing.ts'

// Only a fault of the component or its settings is for the operator to act on.
const logLevel = (code: ComponentErrorCode) =>
  code === 'INTERNAL' || code === 'INVALID_SETTING' ? 'error' : isRoutine(code) ? 'debug' : 'warn'

/** Makes a gRPC handler from an async function, see createUnary. */
export type Unary = <Request, Response>(
  rpc: string,
  handle: (request: Request, component: string) => Promise<Response>,
) => handleUnaryCall<Request, Response>

type Traced = {
  metadata?: Record<string, string> | undefined
  items?: { metadata: Record<string, string> }[]
  operations?: { request?: { value: { metadata: Record<string, string> } } | undefined }[]
  operation?: string
}

/**
 * daprd sends no trace with a state call, only what the application put into the metadata of the
 * request and of its operations, which can be of different traces. With a binding's call it sends
 * its own.
 */
function* traceparentsOf({ metadata, items, operations }: Traced): Iterable<string | undefined> {
  yield metadata?.['traceparent']
  for (const item of items ?? []) yield item.metadata['traceparent']
  for (const { request } of operations ?? []) yield request?.value.metadata['traceparent']
}

function batchSize({ items, operations }: Traced): Attributes {
  const size = (items ?? operations ?? []).length
  return size > 1 ? { 'db.operation.batch.size': size } : {}
}

/**
 * Returns a function that makes gRPC handlers from async functions. These get the request and the
 * name of the Component that it is for; what they throw becomes a gRPC error (toServiceError) and a
 * log line. Each call is counted, timed and traced.
 */
export function createUnary({
  log,
  metrics,
  tracing,
  attributesOf,
}: {
  log: Logger
  metrics?: CallMetrics | undefined
  tracing?: Tracing | undefined
  /** Returns what the spans of a Component's calls say about its database. */
  attributesOf: (component: string) => Attributes
}): Unary {
  return (rpc, handle) => (call, callback) => {
    const component = String(call.metadata.get('x-component-instance')[0] ?? '')
    const began = performance.now()
    const request = call.request as Traced
    const span = tracing?.call(request.operation ?? rpc, traceparentsOf(request), () => ({
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
        // Only where the stack helps: while a database is down every call fails in the same place.
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
