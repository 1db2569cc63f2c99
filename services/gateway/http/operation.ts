import type * as z from 'zod'
import type { CallOptions } from '#lib/dapr.ts'
import type { ProblemCode } from './problem.ts'

/** The caller, as a verified access token names them. */
export type User = { id: string; roles: string[] }

/** Whether the user is a seller or an admin. */
export const isStaff = (user: User | undefined) =>
  user !== undefined && user.roles.some((role) => role === 'seller' || role === 'admin')

/**
 * Who may call: everyone (`public`); everyone, where a token must be valid if sent, and shows more
 * to sellers and admins (`optional`); every account (`user`); sellers and admins (`staff`).
 */
export type Access = 'public' | 'optional' | 'user' | 'staff'

export type Answer = { status: number; body: unknown; headers?: Record<string, string> }

type Schema = z.ZodType
type Parsed<S> = S extends Schema ? z.infer<S> : undefined

/** One operation of the API: routing, validation and the OpenAPI document derive from it. */
export type OperationSpec<A extends Access, P, Q, H, B> = {
  id: string
  method: 'get' | 'post' | 'put' | 'patch'
  /** As in OpenAPI: `/v1/orders/{orderId}`. */
  path: string
  tag: string
  summary: string
  description?: string
  access: A
  /** The tight rate limit of log-ins and registrations; absent: `staff` for staff, else `api`. */
  limit?: 'auth'
  params?: P
  query?: Q
  headers?: H
  body?: B
  /** The field that a `not_found` error names; absent: the first parameter of the path. */
  notFoundField?: string
  responses: Record<number, { description: string; schema: Schema; headers?: Record<string, string> }>
  problems?: ProblemCode[]
  handle: (request: {
    params: Parsed<P>
    query: Parsed<Q>
    headers: Parsed<H>
    body: Parsed<B>
    user: A extends 'user' | 'staff' ? User : User | undefined
    /** For every call to a service: the rest of this request's time budget. */
    call: CallOptions
  }) => Promise<Answer>
}

export type Operation = Omit<
  OperationSpec<Access, z.ZodObject | undefined, z.ZodObject | undefined, z.ZodObject | undefined, Schema | undefined>,
  'handle'
> & {
  handle: (request: {
    params: unknown
    query: unknown
    headers: unknown
    body: unknown
    user: User | undefined
    call: CallOptions
  }) => Promise<Answer>
}

/** Checks a handler against its operation's schemas, then erases their types. */
export const operation = <
  A extends Access,
  P extends z.ZodObject | undefined = undefined,
  Q extends z.ZodObject | undefined = undefined,
  H extends z.ZodObject | undefined = undefined,
  B extends Schema | undefined = undefined,
>(
  spec: OperationSpec<A, P, Q, H, B>,
): Operation => spec as unknown as Operation
