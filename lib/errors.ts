import { Metadata, status, type ServiceError, type StatusObject } from '@grpc/grpc-js'
import { BadRequest, ErrorInfo, RetryInfo } from '#protos/google/rpc/error_details.ts'
import { Status } from '#protos/google/rpc/status.ts'

/**
 * The one table of errors: what went wrong, its gRPC status, its HTTP status. docs/errors.md lists
 * the codes.
 */
export const errorKinds = {
  invalid: { grpc: status.INVALID_ARGUMENT, http: 400 },
  unauthenticated: { grpc: status.UNAUTHENTICATED, http: 401 },
  forbidden: { grpc: status.PERMISSION_DENIED, http: 403 },
  not_found: { grpc: status.NOT_FOUND, http: 404 },
  exists: { grpc: status.ALREADY_EXISTS, http: 409 },
  conflict: { grpc: status.ABORTED, http: 409 },
  rejected: { grpc: status.FAILED_PRECONDITION, http: 422 },
  exhausted: { grpc: status.RESOURCE_EXHAUSTED, http: 429 },
  unavailable: { grpc: status.UNAVAILABLE, http: 503 },
  timeout: { grpc: status.DEADLINE_EXCEEDED, http: 504 },
  internal: { grpc: status.INTERNAL, http: 500 },
} as const

export type ErrorKind = keyof typeof errorKinds

/** A wrong field of a request: its path, such as `lines.0.sku`, and what is wrong with it. */
export type FieldError = { field: string; message: string }

const domain = 'sidecart'
const detailsKey = 'grpc-status-details-bin'

/**
 * An error that a caller can act on. `code` is stable and for programs; `message` is for people.
 */
export class AppError extends Error {
  readonly kind: ErrorKind
  readonly code: string
  readonly fields: FieldError[]
  /** When the caller may come back, if that is known. */
  readonly retryAfterSeconds: number | undefined

  constructor(
    kind: ErrorKind,
    code: string,
    message: string,
    options: { cause?: unknown; fields?: FieldError[]; retryAfterSeconds?: number | undefined } = {},
  ) {
    super(message, { cause: options.cause })
    this.name = 'AppError'
    this.kind = kind
    this.code = code
    this.fields = options.fields ?? []
    this.retryAfterSeconds = options.retryAfterSeconds
  }
}

export const invalid = (field: string, message: string, code = 'invalid_field') =>
  new AppError('invalid', code, `${field}: ${message}`, { fields: [{ field, message }] })
/** An `invalid` error that names several fields; its message names all of them. */
export const invalidFields = (fields: FieldError[]) =>
  new AppError('invalid', 'invalid_field', fields.map((f) => `${f.field}: ${f.message}`).join('; '), { fields })
export const notFound = (code: string, message: string) => new AppError('not_found', code, message)
export const exists = (code: string, message: string) => new AppError('exists', code, message)
export const rejected = (code: string, message: string, fields: FieldError[] = []) =>
  new AppError('rejected', code, message, { fields })
export const unauthenticated = (code: string, message: string) => new AppError('unauthenticated', code, message)
export const unavailable = (code: string, message: string, cause?: unknown) =>
  new AppError('unavailable', code, message, { cause })

/**
 * Returns the AppError in an error's chain of causes, else an `internal` one that hides the cause.
 */
export function toAppError(error: unknown): AppError {
  for (let e = error; e instanceof Error; e = e.cause) if (e instanceof AppError) return e
  return new AppError('internal', 'internal', 'internal error', { cause: error })
}

/**
 * Returns what a gRPC server sends for an error: the status, with `code` and fields as google.rpc
 * details (https://google.aip.dev/193).
 */
export function toGrpcStatus(error: unknown): Partial<StatusObject> {
  const e = toAppError(error)
  const code = errorKinds[e.kind].grpc
  const message = e.kind === 'internal' ? 'internal error' : e.message
  const details = [anyOf('google.rpc.ErrorInfo', ErrorInfo.encode({ reason: e.code, domain, metadata: {} }).finish())]
  if (e.fields.length > 0) {
    const fieldViolations = e.fields.map(({ field, message: description }) => ({ field, description }))
    details.push(anyOf('google.rpc.BadRequest', BadRequest.encode({ fieldViolations }).finish()))
  }
  if (e.retryAfterSeconds !== undefined) {
    const retryDelay = { seconds: Math.ceil(e.retryAfterSeconds), nanos: 0 }
    details.push(anyOf('google.rpc.RetryInfo', RetryInfo.encode({ retryDelay }).finish()))
  }
  const metadata = new Metadata()
  metadata.set(detailsKey, Buffer.from(Status.encode({ code, message, details }).finish()))
  return { code, details: message, metadata }
}

const anyOf = (type: string, value: Uint8Array) => ({ typeUrl: `type.googleapis.com/${type}`, value })

/**
 * Returns the error of a failed call through the sidecar. One that carries our ErrorInfo comes from
 * the callee and keeps its meaning. One without comes from something in between: a sidecar, a
 * circuit breaker, a policy's time-out.
 */
export function fromGrpcError(error: ServiceError, callee: string): AppError {
  const own = readDetails(error.metadata)
  if (own) {
    const kind = (Object.keys(errorKinds) as ErrorKind[]).find((k) => errorKinds[k].grpc === error.code) ?? 'internal'
    return new AppError(kind, own.reason, error.details, { ...own, cause: error })
  }
  switch (error.code) {
    case status.UNAVAILABLE:
    case status.DEADLINE_EXCEEDED:
    // An open circuit breaker and an app that cannot be resolved both arrive as UNKNOWN:
    // https://github.com/dapr/dapr/blob/v1.18.0/pkg/api/grpc/proxy/handler.go
    case status.UNKNOWN:
    case status.CANCELLED:
    // A stream that was reset, when a process on the way ended. An INTERNAL of ours has ErrorInfo.
    case status.INTERNAL:
      return unavailable(`${callee}_unavailable`, `${callee} is not available right now`, error)
    default:
      return new AppError('internal', 'internal', `${callee}: ${error.details}`, { cause: error })
  }
}

type Details = { reason: string; fields: FieldError[]; retryAfterSeconds: number | undefined }

function readDetails(metadata: Metadata | undefined): Details | undefined {
  const raw = metadata?.get(detailsKey)[0]
  if (!(raw instanceof Buffer)) return undefined
  const { details } = Status.decode(raw)
  const find = (type: string) => details.find((d) => d.typeUrl.endsWith(type))?.value
  const info = find('google.rpc.ErrorInfo')
  if (!info) return undefined
  const { reason, domain: from } = ErrorInfo.decode(info)
  if (from !== domain) return undefined
  const bad = find('google.rpc.BadRequest')
  const fields = bad
    ? BadRequest.decode(bad).fieldViolations.map((v) => ({ field: v.field, message: v.description }))
    : []
  const retry = find('google.rpc.RetryInfo')
  return { reason, fields, retryAfterSeconds: retry && RetryInfo.decode(retry).retryDelay?.seconds }
}
