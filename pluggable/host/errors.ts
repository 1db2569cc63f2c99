import { Metadata, status, type ServiceError } from '@grpc/grpc-js'
import { BadRequest } from '#protos/google/rpc/error_details.ts'
import { Status } from '#protos/google/rpc/status.ts'

/**
 * The failures of a component that callers need to tell apart. Dapr turns every failed transaction
 * into INTERNAL and keeps only the text, so each code is also the first word of the message.
 */
export type ComponentErrorCode =
  | 'INVALID_SETTING'
  | 'INVALID_REQUEST'
  | 'ETAG_MISMATCH'
  | 'EVENT_TOO_LARGE'
  | 'EVENT_REFUSED'
  | 'COMMIT_UNKNOWN'
  | 'STORE_UNAVAILABLE'
  | 'QUERY_TOO_SLOW'
  | 'NOT_INITIALISED'
  | 'INTERNAL'

const grpcStatus = {
  INVALID_SETTING: status.INVALID_ARGUMENT,
  INVALID_REQUEST: status.INVALID_ARGUMENT,
  ETAG_MISMATCH: status.FAILED_PRECONDITION,
  EVENT_TOO_LARGE: status.INVALID_ARGUMENT,
  EVENT_REFUSED: status.INVALID_ARGUMENT,
  COMMIT_UNKNOWN: status.UNKNOWN,
  STORE_UNAVAILABLE: status.UNAVAILABLE,
  QUERY_TOO_SLOW: status.DEADLINE_EXCEEDED,
  NOT_INITIALISED: status.UNAVAILABLE,
  INTERNAL: status.INTERNAL,
} as const satisfies Record<ComponentErrorCode, status>

/** True for a lost race or a caller's mistake: nothing that an operator has to check. */
export const isRoutine = (code: string): boolean => code === 'ETAG_MISMATCH' || code === 'INVALID_REQUEST'

/** The only error that components throw deliberately. `message` is the text without the code. */
export class ComponentError extends Error {
  readonly code: ComponentErrorCode
  /** True if waiting does not help: someone has to change something. */
  readonly lasting: boolean

  constructor(code: ComponentErrorCode, message: string, options: { cause?: unknown; lasting?: boolean } = {}) {
    super(message, options)
    this.name = 'ComponentError'
    this.code = code
    this.lasting = options.lasting ?? false
  }
}

/** Returns a thrown value as a ComponentError: INTERNAL unless it already is one. */
export function toComponentError(error: unknown): ComponentError {
  if (error instanceof ComponentError) return error
  return new ComponentError('INTERNAL', error instanceof Error ? error.message : String(error), { cause: error })
}

/**
 * Returns the gRPC error for a thrown value. A wrong etag carries the detail by which daprd
 * recognises it: a BadRequest with the single field `etag`.
 */
export function toServiceError(thrown: unknown): ServiceError {
  const error = toComponentError(thrown)
  const code = grpcStatus[error.code]
  const details = `${error.code}: ${error.message}`
  const metadata = new Metadata()
  if (error.code === 'ETAG_MISMATCH') {
    const badRequest = BadRequest.encode({ fieldViolations: [{ field: 'etag', description: details }] }).finish()
    const rich = Status.encode({
      code,
      message: details,
      details: [{ typeUrl: 'type.googleapis.com/google.rpc.BadRequest', value: badRequest }],
    }).finish()
    metadata.set('grpc-status-details-bin', Buffer.from(rich))
  }
  return Object.assign(new Error(details), { code, details, metadata })
}
