import { STATUS_CODES } from 'node:http'
import * as z from 'zod'
import { AppError, errorKinds, toAppError, type FieldError } from '#lib/errors.ts'

/**
 * Every code that an answer may carry, for the OpenAPI document and the /docs page: its status,
 * what it means, and the field that is to blame where a service names none. Codes are never
 * renamed.
 */
export const problemCodes = {
  invalid_field: { status: 400, title: 'A field is not acceptable' },
  unknown_field: { status: 400, title: 'A field is not known here' },
  repeated_parameter: { status: 400, title: 'A query parameter is given more than once' },
  repeated_header: { status: 400, title: 'A header is given more than once' },
  bad_json: { status: 400, title: 'The body is not valid JSON' },
  bad_path: { status: 400, title: 'The path is not validly encoded' },
  bad_cursor: { status: 400, title: 'The cursor is not one that was given out for this list', field: 'cursor' },
  bad_request: { status: 400, title: 'The request is not valid HTTP' },
  unauthenticated: { status: 401, title: 'An access token is needed' },
  bad_token: { status: 401, title: 'The access token is not valid, or no longer' },
  bad_credentials: { status: 401, title: 'The email or the password is wrong' },
  bad_refresh_token: { status: 401, title: 'The refresh token is unknown, expired or used' },
  forbidden: { status: 403, title: 'Your roles do not allow this' },
  route_not_found: { status: 404, title: 'There is nothing at this path' },
  user_not_found: { status: 404, title: 'There is no such account' },
  category_not_found: { status: 404, title: 'There is no such category' },
  product_not_found: { status: 404, title: 'There is no such product' },
  stock_not_found: { status: 404, title: 'There is no stock record of this SKU' },
  order_not_found: { status: 404, title: 'You have no such order' },
  method_not_allowed: { status: 405, title: 'This path does not take this method' },
  request_timeout: { status: 408, title: 'The request did not arrive in time' },
  email_taken: { status: 409, title: 'An account has this email', field: 'email' },
  handle_taken: { status: 409, title: 'A product has this handle', field: 'handle' },
  sku_taken: { status: 409, title: 'Another product has this SKU', field: 'variants' },
  conflict: { status: 409, title: 'Somebody else changed it meanwhile' },
  body_too_large: { status: 413, title: 'The body is too large', field: 'body' },
  uri_too_long: { status: 414, title: 'The URL is too long' },
  unsupported_media_type: {
    status: 415,
    title: 'The body must be application/json in UTF-8, not compressed',
    field: 'Content-Type',
  },
  user_deactivated: { status: 422, title: 'The account is deactivated' },
  sku_not_found: { status: 422, title: 'A SKU is not for sale', field: 'lines' },
  mixed_currencies: { status: 422, title: 'The prices of an order must be in one currency', field: 'lines' },
  unknown_payment_method: { status: 422, title: 'The payment method is not known', field: 'payment.method' },
  idempotency_key_reused: {
    status: 422,
    title: 'The Idempotency-Key was used for another request',
    field: 'Idempotency-Key',
  },
  order_confirmed: { status: 422, title: 'The order is confirmed and can no longer be cancelled' },
  insufficient_stock: { status: 422, title: 'Less would be on hand than is reserved and sold' },
  adjustment_id_reused: { status: 422, title: 'The adjustment id was used for another change', field: 'id' },
  event_too_large: { status: 422, title: 'The change is too large to be published' },
  too_many_logins: { status: 429, title: 'Too many log-ins at once' },
  too_many_requests: { status: 429, title: 'Too many requests' },
  headers_too_large: { status: 431, title: 'The headers are too large' },
  internal: { status: 500, title: 'Something went wrong here' },
  unavailable: { status: 503, title: 'This is not available right now' },
  commit_unknown: {
    status: 503,
    title: 'It is not known whether this was done: repeat it, with the same Idempotency-Key',
  },
  timeout: { status: 504, title: 'This took too long' },
} as const satisfies Record<string, { status: number; title: string; field?: string }>

export type ProblemCode = keyof typeof problemCodes

export const problemMediaType = 'application/problem+json'

export const problemSchema = z
  .object({
    type: z.string().meta({
      description: 'Where this code is described, relative to the API.',
      examples: ['/docs#problem-invalid_field'],
    }),
    title: z.string().meta({ examples: ['A field is not acceptable'] }),
    status: z.int().meta({ examples: [400] }),
    detail: z.string().meta({ examples: ['lines.0.quantity: must be at least 1'] }),
    instance: z.string().meta({ description: 'The path that was asked for.', examples: ['/v1/orders'] }),
    code: z.string().meta({ description: 'For programs; never renamed.', examples: ['invalid_field'] }),
    traceId: z
      .string()
      .optional()
      .meta({ description: 'Find the request in Jaeger with it.', examples: ['4bf92f3577b34da6a3ce929d0e0e4736'] }),
    errors: z
      .array(
        z.object({
          field: z.string().meta({ examples: ['lines.0.quantity'] }),
          message: z.string().meta({ examples: ['must be at least 1'] }),
        }),
      )
      .optional(),
  })
  .meta({ id: 'Problem', description: 'An error, as in RFC 9457.' })

/** An error that only HTTP knows (no route, wrong media type …); the rest are AppErrors. */
export class HttpError extends Error {
  readonly code: ProblemCode
  readonly fields: FieldError[]
  readonly headers: Record<string, string>

  constructor(code: ProblemCode, detail: string, o: { fields?: FieldError[]; headers?: Record<string, string> } = {}) {
    super(detail)
    this.name = 'HttpError'
    this.code = code
    this.fields = o.fields ?? []
    this.headers = o.headers ?? {}
  }
}

export type Problem = { body: z.infer<typeof problemSchema>; headers: Record<string, string> }

/**
 * The one place where an error becomes an answer. What a client cannot act on is not told: an
 * internal error and an outage have fixed texts, whatever their messages say.
 */
export function problemOf(error: unknown, at: { path: string; traceId?: string | undefined }): Problem {
  const e = error instanceof HttpError ? error : toAppError(error)
  const known = (problemCodes as Record<string, { status: number; title: string; field?: string }>)[e.code]
  const status = e instanceof HttpError ? problemCodes[e.code].status : errorKinds[e.kind].http
  const detail = status >= 500 ? outages[status as keyof typeof outages] : e.message
  const fields =
    status >= 500
      ? []
      : e.fields.length > 0 || !known?.field
        ? e.fields
        : [{ field: known.field, message: known.title }]
  return {
    body: {
      type: `/docs#problem-${known ? e.code : fallbackCode(status)}`,
      title:
        known?.status === status
          ? known.title
          : (problemCodes[fallbackCode(status)]?.title ?? STATUS_CODES[status] ?? 'Error'),
      status,
      detail,
      instance: at.path,
      code: e.code,
      ...(at.traceId ? { traceId: at.traceId } : {}),
      ...(fields.length > 0 ? { errors: fields } : {}),
    },
    headers: {
      ...challenge(status, e.code),
      ...(status === 503 || (status === 429 && e instanceof AppError) ? { 'Retry-After': '1' } : {}),
      ...(e instanceof HttpError ? e.headers : {}),
    },
  }
}

const outages = {
  500: 'Something went wrong here. It was logged under the trace id.',
  503: 'This is not available right now. Please try again in a moment.',
  504: 'This took too long. Please try again in a moment.',
}

function fallbackCode(status: number): ProblemCode {
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

// RFC 6750: which scheme is asked for, and whether a token was given that is no good.
const challenge = (status: number, code: string): Record<string, string> =>
  status === 401
    ? { 'WWW-Authenticate': `Bearer realm="sidecart"${code === 'bad_token' ? ', error="invalid_token"' : ''}` }
    : {}

const maxErrors = 20

/**
 * What zod found, as fields and messages; nothing of the input's values is repeated. `at` names the
 * whole when the whole is wrong.
 */
export function fieldErrors(error: z.ZodError, at: string): FieldError[] {
  const found: FieldError[] = []
  for (const issue of error.issues) {
    if (issue.code === 'unrecognized_keys')
      for (const key of issue.keys)
        found.push({ field: nameOf([...issue.path, key], at), message: 'is not known here' })
    else found.push({ field: nameOf(issue.path, at), message: messageOf(issue) })
    if (found.length >= maxErrors) break
  }
  return found.slice(0, maxErrors)
}

const maxNameLength = 120
/** A path as a field's name: `lines.0.sku`. Cut, as a client can make names of any length. */
export function nameOf(path: readonly PropertyKey[], at: string): string {
  const name = path.map(String).join('.') || at
  return (name.length > maxNameLength ? `${name.slice(0, maxNameLength)}…` : name).toWellFormed()
}

function messageOf(issue: z.core.$ZodIssue): string {
  switch (issue.code) {
    case 'invalid_type':
      return issue.message.endsWith('received undefined') ? 'is missing' : `must be ${article(issue.expected)}`
    case 'too_small':
      return issue.origin === 'string'
        ? issue.minimum === 1
          ? 'must not be empty'
          : `must have at least ${issue.minimum} characters`
        : issue.origin === 'array'
          ? `must have at least ${issue.minimum} ${issue.minimum === 1 ? 'entry' : 'entries'}`
          : `must be at least ${issue.minimum}`
    case 'too_big':
      return issue.origin === 'string'
        ? `must have at most ${issue.maximum} characters`
        : issue.origin === 'array'
          ? `must have at most ${issue.maximum} entries`
          : `must be at most ${issue.maximum}`
    case 'invalid_key':
      return issue.issues[0] ? `has a name that ${messageOf(issue.issues[0])}` : 'has a name that is not acceptable'
    case 'invalid_value':
      return `must be one of ${issue.values.map(String).join(', ')}`
    default:
      return issue.message
  }
}

const article = (type: string) =>
  type === 'int'
    ? 'a whole number'
    : type === 'record' || type === 'object'
      ? 'an object'
      : type === 'array'
        ? 'an array'
        : `a ${type}`

/** Throws `invalid_field` (or `unknown_field`, when that is all) with every field that is wrong. */
export function parse<T>(schema: z.ZodType<T>, value: unknown, at: string): T {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  const fields = fieldErrors(result.error, at)
  const code = result.error.issues.every((i) => i.code === 'unrecognized_keys') ? 'unknown_field' : 'invalid_field'
  throw new AppError(
    'invalid',
    code,
    fields
      .slice(0, 3)
      .map((f) => `${f.field}: ${f.message}`)
      .join('; '),
    { fields },
  )
}
