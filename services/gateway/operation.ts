import type * as z from 'zod'
import type { CallOptions } from '#lib/dapr.ts'
import type { ProblemCode } from './problem.ts'

/** Who asks, from a verified access token. */
export type User = { id: string; roles: string[] }

export const isStaff = (user: User | undefined) =>
  user !== undefined && user.roles.some((role) => role === 'seller' || role === 'admin')

/**
 * Who may call: anybody (`public`); anybody, but a token that is sent must be good, and shows more
 * to sellers and admins (`optional`); any account (`user`); sellers and admins (`staff`).
 */
export type Access = 'public' | 'optional' | 'user' | 'staff'

export type Answer = { status: number; body: unknown; headers?: Record<string, string> }

type Schema = z.ZodType
type Parsed<S> = S extends Schema ? z.infer<S> : undefined

/**
 * One operation of the API. The router, the validation and the OpenAPI document are all made from
 * it.
 */
export type OperationSpec<A extends Access, P, Q, H, B> = {
  id: string
  method: 'get' | 'post' | 'put' | 'patch'
  /** As in OpenAPI: `/v1/orders/{orderId}`. */
  path: string
  tag: string
  summary: string
  description?: string
  access: A
  /**
   * Which limit counts it: `auth` is the tight one of log-ins and registrations. Default: `staff`
   * for staff, else `api`.
   */
  limit?: 'auth'
  params?: P
  query?: Q
  headers?: H
  body?: B
  /** The field that names what may not be there; default: the first of the path. */
  names?: string
  responses: Record<number, { description: string; schema: Schema; headers?: Record<string, string> }>
  problems?: ProblemCode[]
  handle: (request: {
    params: Parsed<P>
    query: Parsed<Q>
    headers: Parsed<H>
    body: Parsed<B>
    user: A extends 'user' | 'staff' ? User : User | undefined
    /** For every call to a service: what is left of this request's time. */
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

/** Checks an operation's handler against its schemas, and forgets the types. */
export const operation = <
  A extends Access,
  P extends z.ZodObject | undefined = undefined,
  Q extends z.ZodObject | undefined = undefined,
  H extends z.ZodObject | undefined = undefined,
  B extends Schema | undefined = undefined,
>(
  spec: OperationSpec<A, P, Q, H, B>,
): Operation => spec as unknown as Operation
