import * as z from 'zod'
import { AppError, errorKinds, toAppError, type FieldError } from '#lib/errors.ts'

/**
 * Every error code of the API, for the OpenAPI document and the /docs page: its status, its
 * meaning, and the field to name where a service names none. Codes are never renamed.
 */
export const problemCodes = {
  invalid_field: { status: 400, title: 'A field is invalid' },
  unknown_field: { status: 400, title: 'Unknown field or parameter' },
  repeated_parameter: { status: 400, title: 'A query parameter is repeated' },
  repeated_header: { status: 400, title: 'A header is repeated' },
  bad_json: { status: 400, title: 'The body is not valid JSON' },
  bad_path: { status: 400, title: 'The path must be percent-encoded UTF-8' },
  bad_cursor: { status: 400, title: 'The cursor is not valid for this list', field: 'cursor' },
  bad_request: { status: 400, title: 'The request is not valid HTTP' },
  unauthenticated: { status: 401, title: 'An access token is required' },
  bad_token: { status: 401, title: 'The access token is invalid or expired, or its session has ended' },
  bad_credentials: { status: 401, title: 'Wrong email or password' },
  bad_refresh_token: { status: 401, title: 'The refresh token is unknown, expired or used' },
  forbidden: { status: 403, title: 'Your roles do not allow this' },
  not_owner: { status: 403, title: "It is another seller's product or SKU" },
  route_not_found: { status: 404, title: 'Unknown path' },
  user_not_found: { status: 404, title: 'Unknown account' },
  category_not_found: { status: 404, title: 'Unknown category' },
  product_not_found: { status: 404, title: 'Unknown product' },
  stock_not_found: { status: 404, title: 'No stock record for this SKU' },
  payment_not_found: { status: 404, title: 'No payment was requested for this order' },
  order_not_found: { status: 404, title: 'Unknown order' },
  session_not_found: { status: 404, title: 'Unknown session', field: 'sessionId' },
  method_not_allowed: { status: 405, title: 'Method not allowed' },
  request_timeout: { status: 408, title: 'The request did not arrive in time' },
  email_taken: { status: 409, title: 'Another account uses this email', field: 'email' },
  handle_taken: { status: 409, title: 'Another product uses this handle', field: 'handle' },
  category_exists: { status: 409, title: 'The parent has a category of this name', field: 'name' },
  sku_taken: { status: 409, title: 'Another product uses this SKU', field: 'variants' },
  conflict: { status: 409, title: 'Changed by someone else; read it again and retry' },
  request_in_progress: {
    status: 409,
    title: 'A request with this Idempotency-Key is in progress',
    field: 'Idempotency-Key',
  },
  product_changed: {
    status: 412,
    title: 'The product is not the one that If-Match names; read it again',
    field: 'If-Match',
  },
  body_too_large: { status: 413, title: 'The body is too large', field: 'body' },
  uri_too_long: { status: 414, title: 'The URL is too long' },
  unsupported_media_type: {
    status: 415,
    title: 'The body must be uncompressed, in UTF-8, and of the media type of this operation',
    field: 'Content-Type',
  },
  category_cycle: { status: 422, title: 'The new parent is below the category', field: 'parentId' },
  category_too_deep: { status: 422, title: 'The tree would have more than 10 levels', field: 'parentId' },
  category_too_large: { status: 422, title: 'The category has too many below it to be moved at once' },
  user_deactivated: { status: 422, title: 'The account is deactivated' },
  sku_not_found: { status: 422, title: 'Unknown SKU', field: 'lines' },
  mixed_currencies: { status: 422, title: 'All lines must have prices in one currency', field: 'lines' },
  price_changed: { status: 422, title: 'The total is not the expected one', field: 'expectedTotal' },
  unknown_payment_method: { status: 422, title: 'Unknown payment method', field: 'payment.method' },
  idempotency_key_reused: {
    status: 422,
    title: 'The Idempotency-Key was used for a different request',
    field: 'Idempotency-Key',
  },
  order_confirmed: { status: 422, title: 'The order is confirmed and can no longer be cancelled' },
  payment_not_captured: { status: 422, title: 'The order was not charged' },
  already_refunded: { status: 422, title: 'All of the order is refunded already' },
  refund_too_large: { status: 422, title: 'More than what is left to refund', field: 'amount' },
  insufficient_stock: { status: 422, title: 'Stock on hand must cover what is reserved and sold' },
  adjustment_id_reused: { status: 422, title: 'The adjustment id was used for a different change', field: 'id' },
  event_too_large: { status: 422, title: 'The change is too large to publish' },
  wrong_password: { status: 422, title: 'That is not the current password', field: 'currentPassword' },
  bad_reset_token: {
    status: 422,
    title: 'The token is unknown, used or expired; ask for another mail',
    field: 'token',
  },
  too_many_guesses: { status: 429, title: 'Too many wrong passwords for this account; see Retry-After' },
  too_many_logins: { status: 429, title: 'Too many log-ins at once' },
  too_many_resets: { status: 429, title: 'Too many mails to this address; see Retry-After' },
  too_many_requests: { status: 429, title: 'Too many requests' },
  headers_too_large: { status: 431, title: 'The headers are too large' },
  internal: { status: 500, title: 'Internal error' },
  orders_busy: { status: 503, title: 'Too many orders are waiting; try again in a moment' },
  search_unavailable: { status: 503, title: 'Search is not available; lists without words and filters are' },
  unavailable: { status: 503, title: 'Temporarily unavailable' },
  commit_unknown: { status: 503, title: 'The outcome is unknown; retry with the same Idempotency-Key' },
  timeout: { status: 504, title: 'The request took too long' },
} as const satisfies Record<string, { status: number; title: string; field?: string }>

export type ProblemCode = keyof typeof problemCodes

export const problemMediaType = 'application/problem+json'

export const problemSchema = z
  .object({
    type: z.string().meta({
      description: 'The description of this code, relative to the API.',
      examples: ['/docs#problem-invalid_field'],
    }),
    title: z.string().meta({ examples: ['A field is invalid'] }),
    status: z.int().meta({ examples: [400] }),
    detail: z.string().meta({ examples: ['lines.0.quantity: must be 1 to 1000'] }),
    instance: z.string().meta({ description: 'The path of the request.', examples: ['/v1/orders'] }),
    code: z.string().meta({ description: 'For programs; never renamed.', examples: ['invalid_field'] }),
    traceId: z
      .string()
      .optional()
      .meta({ description: 'Finds the request in Jaeger.', examples: ['4bf92f3577b34da6a3ce929d0e0e4736'] }),
    requestId: z
      .string()
      .optional()
      .meta({
        description: 'What X-Request-Id says, where the edge refuses a request that got no trace.',
        examples: ['3d412df3ac62d20c59f77dfcb42a9999'],
      }),
    errors: z
      .array(
        z.object({
          field: z.string().meta({ examples: ['lines.0.quantity'] }),
          message: z.string().meta({ examples: ['must be 1 to 1000'] }),
        }),
      )
      .optional(),
  })
  .meta({ id: 'Problem', description: 'An error as defined by RFC 9457.' })

/** An error that only HTTP knows (unknown path, wrong media type …); all others are AppErrors. */
export class HttpError extends Error {
  readonly code: ProblemCode
  readonly fields: FieldError[]
  readonly headers: Record<string, string>

  constructor(
    code: ProblemCode,
    detail: string,
    { fields = [], headers = {} }: { fields?: FieldError[]; headers?: Record<string, string> } = {},
  ) {
    super(detail)
    this.name = 'HttpError'
    this.code = code
    this.fields = fields
    this.headers = headers
  }
}

/** An HttpError that names one field. */
export const fieldProblem = (code: ProblemCode, field: string, message: string) =>
  new HttpError(code, `${field}: ${message}`, { fields: [{ field, message }] })

export type Problem = { body: z.infer<typeof problemSchema>; headers: Record<string, string> }

/**
 * Turns any error into a response; nothing else does. Internal errors and outages get fixed texts,
 * whatever their messages say, so that no internals leak. A code that is not in the table (it says,
 * for example, which store is out) becomes the general one of its status.
 */
export function problemOf(error: unknown, { path, traceId }: { path: string; traceId?: string | undefined }): Problem {
  const e = error instanceof HttpError ? error : toAppError(error)
  const status = e instanceof HttpError ? problemCodes[e.code].status : errorKinds[e.kind].http
  const isListed = (problemCodes as Record<string, { status: number }>)[e.code]?.status === status
  const code = isListed ? (e.code as ProblemCode) : generalCode(status)
  const known: { title: string; field?: string } = problemCodes[code]
  const detail = status >= 500 ? fixedDetails[status as keyof typeof fixedDetails] : e.message
  const fields =
    status >= 500 ? [] : e.fields.length > 0 || !known.field ? e.fields : [{ field: known.field, message: known.title }]
  return {
    body: {
      type: `/docs#problem-${code}`,
      title: known.title,
      status,
      detail,
      instance: path,
      code,
      ...(traceId ? { traceId } : {}),
      ...(fields.length > 0 ? { errors: fields } : {}),
    },
    headers: {
      ...challenge(status, code),
      ...(status === 503 || (status === 429 && e instanceof AppError) ? { 'Retry-After': retryAfter(e) } : {}),
      ...(e instanceof HttpError ? e.headers : {}),
    },
  }
}

const retryAfter = (e: Error) => String((e instanceof AppError && e.retryAfterSeconds) || 1)

const fixedDetails = {
  500: 'Internal error, logged with the trace id',
  503: 'Temporarily unavailable; retry in a moment',
  504: 'The request took too long; retry in a moment',
}

/** The code in place of one that is not listed. */
function generalCode(status: number): ProblemCode {
  switch (status) {
    case 400:
      return 'invalid_field'
    case 401:
      return 'unauthenticated'
    case 403:
      return 'forbidden'
    case 404:
      return 'route_not_found'
    case 409:
      return 'conflict'
    case 429:
      return 'too_many_requests'
    case 503:
      return 'unavailable'
    case 504:
      return 'timeout'
    default:
      return status < 500 ? 'invalid_field' : 'internal'
  }
}

// RFC 6750: the scheme to use, and whether an invalid token was sent.
const challenge = (status: number, code: string): Record<string, string> =>
  status === 401
    ? { 'WWW-Authenticate': `Bearer realm="sidecart"${code === 'bad_token' ? ', error="invalid_token"' : ''}` }
    : {}
