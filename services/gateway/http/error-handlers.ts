import type { ErrorRequestHandler, Express, RequestHandler } from 'express'
import { activeTraceId, requestInfo, setRoute } from './observability.ts'
import { HttpError, problemMediaType, problemOf } from './problem.ts'
import { badPath } from './request.ts'

/** Refuses every request with 404. */
export const routeNotFound: RequestHandler = () => {
  throw new HttpError('route_not_found', 'Unknown path; /docs lists all operations')
}

/** Refuses every request to `path` with 405; `allow` is the list for the Allow header. */
export const methodNotAllowed =
  (path: string, allow: string): RequestHandler =>
  () => {
    throw new HttpError('method_not_allowed', `${path} allows ${allow}`, { headers: { Allow: allow } })
  }

/** Refuses other methods than GET and HEAD; to be called after `app.get(path, …)`. */
export function allowOnlyGet(app: Express, path: string): void {
  app.all(path, setRoute(path), methodNotAllowed(path, 'GET, HEAD'))
}

/** Responds to an error with problem+json. */
export const answerProblem: ErrorRequestHandler = (error, req, res, _next) => {
  // express itself throws URIError for a parameter that it cannot decode.
  const cause = error instanceof URIError ? badPath() : error
  const { body, headers } = problemOf(cause, { path: req.path.slice(0, 500), traceId: activeTraceId() })
  requestInfo(res).error = { code: body.code, cause }
  if (res.headersSent) return void req.destroy()
  res
    .status(body.status)
    .set({ ...headers, 'Cache-Control': 'no-store' })
    .setHeader('Content-Type', problemMediaType)
  res.end(JSON.stringify(body))
}
