import type { Express, Request, RequestHandler } from 'express'
import { AppError } from '#lib/errors.ts'
import type { Auth } from './auth.ts'
import { methodNotAllowed } from './http/error-handlers.ts'
import { requestInfo, setRoute } from './http/observability.ts'
import { isStaff, type Operation, type User } from './http/operation.ts'
import { checkHeaders, parseBody, parseHeaders, parseParams, parseQuery } from './http/request.ts'
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
  for (const [path, operationsOfPath] of Map.groupBy(operations, (operation) => operation.path)) {
    const route = path.replaceAll(/\{(\w+)\}/g, ':$1')
    for (const operation of operationsOfPath)
      app[operation.method](route, setRoute(path), rateLimits[limitOf(operation)], handleOperation(operation, auth))

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
  (operation: Operation, auth: Auth): RequestHandler =>
  async (req, res) => {
    const started = Date.now()
    checkHeaders(req)
    const user = await authenticate(operation, auth, req)
    const spentMs = Date.now() - started
    if (user) requestInfo(res).userId = user.id

    const params = parseParams(operation, req)
    const query = parseQuery(operation, req)
    const headers = parseHeaders(operation, req)
    const body = await parseBody(operation, req)

    // The time that a slow client takes to send its body does not count.
    const call = deadlineIn(budgetMs - spentMs)
    const answer = await operation.handle({ params, query, headers, body, user, call }).catch((error: unknown) => {
      throw withNotFoundField(operation, error)
    })
    res.status(answer.status).set(answer.headers ?? {})
    if (!res.hasHeader('Cache-Control'))
      res.set('Cache-Control', operation.access === 'public' ? 'no-cache' : 'private, no-store')
    res.json(answer.body)
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
