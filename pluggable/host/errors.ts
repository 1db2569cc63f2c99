import { Metadata, status, type ServiceError } from '@grpc/grpc-js'
import { Any } from '#protos/google/protobuf/any.ts'
import { BadRequest } from '#protos/google/rpc/error_details.ts'
import { Status } from '#protos/google/rpc/status.ts'

/**
 * What can go wrong in a component, as a caller needs to tell it apart. Dapr turns every failed
 * transaction into INTERNAL and keeps only the text, so each code is also the first word of the
 * message.
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

/** A lost race or a caller's mistake: nothing that whoever runs the component has to look at. */
export const isEveryday = (code: string): boolean => code === 'ETAG_MISMATCH' || code === 'INVALID_REQUEST'

/** The only error that components throw on purpose. `message` is the text without the code. */
export class ComponentError extends Error {
  readonly code: ComponentErrorCode
  /** Waiting a moment will not help: somebody has to change something. */
  readonly lasting: boolean

  constructor(code: ComponentErrorCode, message: string, options: { cause?: unknown; lasting?: boolean } = {}) {
    super(message, options)
    this.name = 'ComponentError'
    this.code = code
    this.lasting = options.lasting ?? false
  }
}

/** Any thrown value as a ComponentError; what is not one already is INTERNAL. */
export function toComponentError(error: unknown): ComponentError {
  if (error instanceof ComponentError) return error
  return new ComponentError('INTERNAL', error instanceof Error ? error.message : String(error), { cause: error })
}

/**
 * The gRPC error for a thrown value. A wrong etag carries the one detail by which daprd recognises
 * it: a BadRequest with the single field `etag`.
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
      details: [
        Any.fromPartial({ typeUrl: 'type.googleapis.com/google.rpc.BadRequest', value: Buffer.from(badRequest) }),
      ],
    }).finish()
    metadata.set('grpc-status-details-bin', Buffer.from(rich))
  }
  return Object.assign(new Error(details), { code, details, metadata })
}
