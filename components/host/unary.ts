import type { handleUnaryCall } from '@grpc/grpc-js'
import type { Logger } from 'pino'
import { toComponentError, toServiceError, type ComponentErrorCode } from './errors.ts'

// A lost race is everyday business; what the operator must look at is a fault of the component or its settings.
const logLevel = (code: ComponentErrorCode) =>
  code === 'INTERNAL' || code === 'INVALID_SETTING' ? 'error' : code === 'ETAG_MISMATCH' || code === 'INVALID_REQUEST' ? 'debug' : 'warn'

/**
 * Makes gRPC handlers from async functions: they get the request and the name of the Component that daprd speaks for, and
 * what they throw becomes a gRPC error by toServiceError and a line in the log.
 */
export function createUnary(log: Logger) {
  return <Request, Response>(rpc: string, handle: (request: Request, component: string) => Promise<Response>): handleUnaryCall<Request, Response> =>
    (call, callback) => {
      const component = String(call.metadata.get('x-component-instance')[0] ?? '')
      handle(call.request, component).then(
        (response) => callback(null, response),
        (thrown: unknown) => {
          const error = toComponentError(thrown)
          // The stack only where it helps: while a database is away every call fails in the same place.
          const err = error.code === 'INTERNAL' ? { err: error } : {}
          log[logLevel(error.code)]({ component, rpc, code: error.code, reason: error.message, ...err }, 'call failed')
          callback(toServiceError(error))
        },
      )
    }
}
