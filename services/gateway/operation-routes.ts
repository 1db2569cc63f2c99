import type { Express, Request, RequestHandler } from 'express'
import { AppError } from '#lib/errors.ts'
import type { Auth } from './auth.ts'
import { cachingOf } from './http/caching.ts'
import { methodNotAllowed } from './http/error-handlers.ts'
import { requestInfo, setRoute } from './http/observability.ts'
import { createInProgress, replayedHeader } from './http/idempotency.ts'
import { isAdmin, isStaff, type Answer, type Operation, type User } from './http/operation.ts'
import { checkHeaders, parseBody, parseHeaders, parseLines, parseParams, parseQuery } from './http/request.ts'
import { limitOf, type RateLimits } from './rate-limits.ts'

/**
 * The time that all calls for one request may take together. With the way there and back, a
 * response is out within 3 s whatever is down.
 */
const budgetMs = 2_500

/** Adds a route for each operation, and OPTIONS and 405 for each of their paths. */
export function addOperations(
  app: Express,
  operations: Operation[],
  { auth, rateLimits }: { auth: Auth; rateLimits: RateLimits },
): void {
  const onceAtATime = createInProgress()
  for (const [path, operationsOfPath] of Map.groupBy(operations, (operation) => operation.path)) {
    const route = path.replaceAll(':', '\\:').replaceAll(/\{(\w+)\}/g, ':$1')
    for (const operation of operationsOfPath)
      app[operation.method](
        route,
        setRoute(path),
        rateLimits[limitOf(operation)],
        handleOperation(operation, { auth, onceAtATime }),
      )

    const methods = operationsOfPath.map(({ method }) => method.toUpperCase())
    const allow = [...methods, ...(methods.includes('GET') ? ['HEAD'] : []), 'OPTIONS'].join(', ')
    app.options(route, setRoute(path), rateLimits.api, (_req, res) => void res.set('Allow', allow).status(204).end())
    app.all(route, setRoute(path), rateLimits.api, methodNotAllowed(path, allow))
  }
}

/**
 * Authenticates, validates, handles, responds. Cheap refusals come first; a body is read only from
 * clients that may send it.
 */
const handleOperation =
  (
    operation: Operation,
    { auth, onceAtATime }: { auth: Auth; onceAtATime: ReturnType<typeof createInProgress> },
  ): RequestHandler =>
  async (req, res) => {
    const started = Date.now()
    checkHeaders(req)
    const user = await authenticate(operation, auth, req)
    const spentMs = Date.now() - started
    if (user) requestInfo(res).userId = user.id

    const params = parseParams(operation, req)
    const { query, more } = parseQuery(operation, req)
    const headers = parseHeaders(operation, req)
    const body = await parseBody(operation, req)
    const lines = await parseLines(operation, req)

    // The time that a slow client takes to send its body does not count.
    const call = deadlineIn((operation.budgetMs ?? budgetMs) - spentMs)
    const work = () => operation.handle({ params, query, more, headers, body, lines, user, client: req.ip ?? '', call })
    const key = (headers as { 'Idempotency-Key'?: string } | undefined)?.['Idempotency-Key']
    const { method, path } = req
    const answer = await (
      key === undefined ? work() : onceAtATime({ caller: user?.id ?? req.ip ?? '', key, method, path, body }, work)
    ).catch((error: unknown) => {
      throw withNotFoundField(operation, error)
    })
    res.status(answer.status).set(answer.headers ?? {})
    if (answer.replayed && key !== undefined) res.set(replayedHeader, 'true')
    if (!res.hasHeader('Cache-Control')) {
      const { 'Cache-Control': caching, Vary: vary } = cachingOf(operation, user)
      res.set('Cache-Control', caching)
      if (vary) res.vary(vary)
    }
    if (isKnown(req, answer)) res.status(304).end()
    else if (answer.body === undefined) res.end()
    else if (Buffer.isBuffer(answer.body)) {
      if (!res.hasHeader('Content-Type')) res.type('json')
      res.send(answer.body)
    } else res.json(answer.body)
  }

/**
 * Whether the client has this response already: If-None-Match names its ETag (RFC 9110, 13.1.2).
 * Express looks for that too, but not when a request says `Cache-Control: no-cache`, which `fetch`
 * adds to each of them.
 */
function isKnown({ method, headers }: Request, answer: Answer): boolean {
  const etag = answer.headers?.['ETag']
  const known = headers['if-none-match']
  if ((method !== 'GET' && method !== 'HEAD') || answer.status !== 200 || !etag || !known) return false
  return known.trim() === '*' || known.split(',').some((each) => each.trim().replace(/^W\//, '') === etag)
}

/**
 * Returns the user of a request, undefined for anonymous access. Throws `unauthenticated`,
 * `bad_token` or `forbidden`.
 */
async function authenticate({ access }: Operation, auth: Auth, req: Request): Promise<User | undefined> {
  const header = req.headers.authorization
  if (access === 'public' || (access === 'optional' && header === undefined)) return undefined
  const user = await auth.authenticate(header, deadlineIn(budgetMs))
  if (access === 'staff' && !isStaff(user)) throw new AppError('forbidden', 'forbidden', 'For sellers and admins only')
  if (access === 'admin' && !isAdmin(user)) throw new AppError('forbidden', 'forbidden', 'For admins only')
  return user
}

/** Call options with one deadline: each call gets what is left of `ms`. */
function deadlineIn(ms: number): { readonly timeoutMs: number } {
  const deadline = Date.now() + ms
  return {
    get timeoutMs() {
      return Math.max(1, deadline - Date.now())
    },
  }
}

/** Names the operation's field in a `not_found` error of a service that names none. */
function withNotFoundField(operation: Operation, error: unknown): unknown {
  const field = operation.notFoundField ?? Object.keys(operation.params?.shape ?? {})[0]
  if (!(error instanceof AppError) || error.kind !== 'not_found' || error.fields.length > 0 || field === undefined)
    return error
  return new AppError(error.kind, error.code, error.message, {
    cause: error,
    fields: [{ field, message: error.message }],
  })
}
