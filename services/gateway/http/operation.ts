import type * as z from 'zod'
import type { CallOptions } from '#lib/dapr.ts'
import type { Line } from './body-lines.ts'
import type { ProblemCode } from './problem.ts'

/** The caller, as a verified access token names them. */
export type User = { id: string; sessionId: string; roles: string[] }

/** Whether the user is a seller or an admin. */
export const isStaff = (user: User | undefined) =>
  user !== undefined && user.roles.some((role) => role === 'seller' || role === 'admin')

export const isAdmin = ({ roles }: User) => roles.includes('admin')

/** How a user is named to a service that decides what is theirs. */
export const actorOf = (user: User) => ({ userId: user.id, isAdmin: isAdmin(user) })

/**
 * Who may call: everyone (`public`); everyone, where a token must be valid if sent, and shows more
 * to sellers and admins (`optional`); every account (`user`); sellers and admins (`staff`);
 * admins.
 */
export type Access = 'public' | 'optional' | 'user' | 'staff' | 'admin'

export type Answer = {
  status: number
  /**
   * A Buffer is sent as it is: JSON that a service has made, unless `headers` say otherwise.
   * undefined: no body.
   */
  body: unknown
  headers?: Record<string, string>
  /** The change was made before, by an earlier request with the same Idempotency-Key. */
  replayed?: boolean
}

type Schema = z.ZodType
type Parsed<S> = S extends Schema ? z.infer<S> : undefined

export type MoreQuery = {
  prefix: string
  /** Of what comes after the prefix. */
  name: z.ZodType<string>
  value: z.ZodType<string[]>
  description: string
  example: Record<string, string>
}

/** One operation of the API: routing, validation and the OpenAPI document derive from it. */
export type OperationSpec<A extends Access, P, Q, H, B, L> = {
  id: string
  method: 'get' | 'post' | 'put' | 'patch' | 'delete'
  /** As in OpenAPI: `/v1/orders/{orderId}`. */
  path: string
  tag: string
  summary: string
  description?: string
  access: A
  /** The tight rate limits of log-ins and registrations; absent: `staff` for staff, else `api`. */
  limit?: 'logIn' | 'registration'
  params?: P
  query?: Q
  /** Query parameters besides those of `query`, which have any name after a prefix. */
  moreQuery?: MoreQuery
  headers?: H
  body?: B
  /** Of each line of a body of JSON lines, which there is then instead of `body`. */
  lines?: L
  /** The time that all calls for one request may take together, if it is more than usual. */
  budgetMs?: number
  /** The field that a `not_found` error names; absent: the first parameter of the path. */
  notFoundField?: string
  /** Without a schema a response has no body. */
  responses: Record<
    number,
    { description: string; schema?: Schema; mediaType?: string; headers?: Record<string, string> }
  >
  problems?: ProblemCode[]
  handle: (request: {
    params: Parsed<P>
    query: Parsed<Q>
    /** The parameters of `moreQuery`, by name without the prefix. */
    more: Record<string, string[]>
    headers: Parsed<H>
    body: Parsed<B>
    lines: L extends Schema ? Line<z.infer<L>>[] : undefined
    user: A extends 'user' | 'staff' | 'admin' ? User : User | undefined
    /** The caller's address, as far as proxies are trusted. */
    client: string
    /** For every call to a service: the rest of this request's time budget. */
    call: CallOptions
  }) => Promise<Answer>
}

export type Operation = Omit<
  OperationSpec<
    Access,
    z.ZodObject | undefined,
    z.ZodObject | undefined,
    z.ZodObject | undefined,
    Schema | undefined,
    Schema | undefined
  >,
  'handle'
> & {
  handle: (request: {
    params: unknown
    query: unknown
    more: Record<string, string[]>
    headers: unknown
    body: unknown
    lines: Line<unknown>[] | undefined
    user: User | undefined
    client: string
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
  L extends Schema | undefined = undefined,
>(
  spec: OperationSpec<A, P, Q, H, B, L>,
): Operation => spec as unknown as Operation
