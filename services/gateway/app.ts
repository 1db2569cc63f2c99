import { readFileSync } from 'node:fs'
import cors from 'cors'
import express, {
  type ErrorRequestHandler,
  type Express,
  type Request,
  type RequestHandler,
  type Response,
} from 'express'
import { rateLimit } from 'express-rate-limit'
import helmet, { contentSecurityPolicy } from 'helmet'
import { AppError, invalid } from '#lib/errors.ts'
import type { Logger } from '#lib/logger.ts'
import { createAuth, type Auth } from './auth.ts'
import { readAll, readJson } from './body.ts'
import { activeTraceId, observe, type Observed } from './observe.ts'
import { openApiDocument } from './openapi.ts'
import { isStaff, type Operation, type User } from './operation.ts'
import { HttpError, nameOf, parse, problemMediaType, problemOf } from './problem.ts'
import { categories } from './routes/categories.ts'
import { orders } from './routes/orders.ts'
import { products } from './routes/products.ts'
import { sessions } from './routes/sessions.ts'
import { stock } from './routes/stock.ts'
import { users } from './routes/users.ts'
import type { Clients } from './clients.ts'

export type AppOptions = {
  clients: Clients
  log: Logger
  /** true, or what keeps the gateway from serving. */
  ready: () => Promise<true | string>
  corsOrigins?: string[]
  trustProxyHops?: number
  limits: { apiPer10s: number; staffPer10s: number; authPerMinute: number }
}

/**
 * A request's time for all its calls; with the way there and back, an answer comes within 3 s
 * whatever is away.
 */
const budgetMs = 2_500
const maxUrlLength = 8 * 1024

export const operationsOf = (clients: Clients): Operation[] =>
  [users, sessions, categories, products, orders, stock].flatMap((routes) => routes(clients))

/** The HTTP application: it keeps no state but rate-limit counters and users' public keys. */
export function createApp(o: AppOptions): Express {
  const { apiPer10s, staffPer10s, authPerMinute } = o.limits
  const operations = operationsOf(o.clients)
  const auth = createAuth({ getJwks: (call) => o.clients.users.getJwks({}, call) })
  const limiters = {
    api: limiter(apiPer10s, 10_000),
    staff: limiter(staffPer10s, 10_000),
    // An admin who makes accounts (a seed, say) is no stranger guessing passwords.
    auth: limiter(authPerMinute, 60_000, (req) => bearsStaffToken(auth, req)),
  }

  const app = express()
  app.disable('x-powered-by')
  app.set('case sensitive routing', true)
  app.set('query parser', false)
  app.set('trust proxy', o.trustProxyHops ?? 0)

  app.use(observe(o.log))
  app.use(
    helmet({
      contentSecurityPolicy: { useDefaults: false, directives: { defaultSrc: ["'none'"], frameAncestors: ["'none'"] } },
    }),
  )
  app.use(allowOrigins(o.corsOrigins ?? []))
  app.use(checkUrl)

  app.get('/livez', (_req, res) => void res.type('text').send('ok\n'))
  app.get('/readyz', async (_req, res) => {
    const ready = await o.ready()
    res
      .status(ready === true ? 200 : 503)
      .type('text')
      .send(ready === true ? 'ok\n' : `${ready}\n`)
  })

  const document = openApiDocument(operations)
  app.get(
    '/openapi.json',
    named('/openapi.json'),
    limiters.api,
    (_req, res) => void res.set('Cache-Control', 'no-cache').json(document),
  )
  docs(app, limiters.api)

  const methodsOf = Map.groupBy(operations, (operation) => operation.path)
  for (const [path, ones] of methodsOf) {
    const route = path.replaceAll(/\{(\w+)\}/g, ':$1')
    for (const operation of ones) {
      app[operation.method](
        route,
        named(path),
        limiters[operation.limit ?? (operation.access === 'staff' ? 'staff' : 'api')],
        perform(operation, auth),
      )
    }
    const allow = [
      ...ones.map(({ method }) => method.toUpperCase()),
      ...(ones.some(({ method }) => method === 'get') ? ['HEAD'] : []),
      'OPTIONS',
    ].join(', ')
    app.all(route, named(path), limiters.api, (req, res) => {
      if (req.method === 'OPTIONS') return void res.set('Allow', allow).status(204).end()
      throw new HttpError('method_not_allowed', `${path} takes ${allow}`, { headers: { Allow: allow } })
    })
  }
  for (const path of ['/livez', '/readyz', '/openapi.json', '/docs']) {
    app.all(path, named(path), () => {
      throw new HttpError('method_not_allowed', `${path} takes GET, HEAD`, { headers: { Allow: 'GET, HEAD' } })
    })
  }

  app.use(limiters.api, () => {
    throw new HttpError('route_not_found', 'There is nothing at this path; /docs lists what there is')
  })
  app.use(answerProblem)
  return app
}

/**
 * Runs one operation: who asks, what is asked, and the answer. Cheap refusals come first; a body is
 * read only for those who may send it.
 */
const perform =
  (operation: Operation, auth: Auth): RequestHandler =>
  async (req, res) => {
    const started = Date.now()
    checkHeaders(req)
    const user = await userOf(operation, auth, req, budget(budgetMs))
    const spentMs = Date.now() - started
    if (user) observedOf(res).userId = user.id

    const params = operation.params ? parse(operation.params, req.params, 'path') : undefined
    for (const [name, value] of Object.entries(req.params))
      if (String(value).includes('\0')) throw invalid(name, 'must not have a NUL character')
    const query = parseQuery(operation, req)
    const headers = operation.headers
      ? parse(operation.headers, headersOf(req, Object.keys(operation.headers.shape)), 'headers')
      : undefined
    const body = await bodyOf(operation, req)

    // What a slow client took to send its body is not the services' time.
    const answer = await operation
      .handle({ params, query, headers, body, user, call: budget(budgetMs - spentMs) })
      .catch((error: unknown) => {
        throw blaming(operation, error)
      })
    res.status(answer.status).set(answer.headers ?? {})
    if (!res.hasHeader('Cache-Control'))
      res.set('Cache-Control', operation.access === 'public' ? 'no-cache' : 'private, no-store')
    res.json(answer.body)
  }

/** What is not there was named by the path, unless somebody knows better. */
function blaming(operation: Operation, error: unknown): unknown {
  const field = operation.names ?? Object.keys(operation.params?.shape ?? {})[0]
  if (!(error instanceof AppError) || error.kind !== 'not_found' || error.fields.length > 0 || field === undefined)
    return error
  return new AppError(error.kind, error.code, error.message, {
    cause: error,
    fields: [{ field, message: error.message }],
  })
}

/** Options for calls that end, all together, within `ms` from now. */
function budget(ms: number): { readonly timeoutMs: number } {
  const deadline = Date.now() + ms
  return {
    get timeoutMs() {
      return Math.max(1, deadline - Date.now())
    },
  }
}

async function userOf(
  operation: Operation,
  auth: Auth,
  req: Request,
  call: { timeoutMs: number },
): Promise<User | undefined> {
  const header = req.headers.authorization
  if (operation.access === 'public' || (operation.access === 'optional' && header === undefined)) return undefined
  const user = await auth.authenticate(header, call)
  if (operation.access === 'staff' && !isStaff(user))
    throw new AppError('forbidden', 'forbidden', 'This is for sellers and admins')
  return user
}

async function bodyOf(operation: Operation, req: Request): Promise<unknown> {
  if (!operation.body) {
    if ((await readAll(req)).length > 0)
      throw new AppError('invalid', 'unknown_field', 'body: this operation takes none', {
        fields: [{ field: 'body', message: 'this operation takes none' }],
      })
    return undefined
  }
  return parse(operation.body, await readJson(req), 'body')
}

/** Headers that must not be given twice: who would tell which one counts? */
const singleHeaders = ['Authorization', 'Content-Type', 'Content-Encoding', 'Idempotency-Key']

function checkHeaders(req: Request): void {
  const field = singleHeaders.find((name) => (req.headersDistinct[name.toLowerCase()]?.length ?? 0) > 1)
  if (field)
    throw new HttpError('repeated_header', `${field}: is given more than once`, {
      fields: [{ field, message: 'is given more than once' }],
    })
}

const queryOf = (req: Request) => {
  const at = req.originalUrl.indexOf('?')
  return at === -1 ? '' : req.originalUrl.slice(at + 1)
}

function parseQuery(operation: Operation, req: Request): unknown {
  const given: Record<string, string> = Object.create(null)
  for (const part of queryOf(req).split('&')) {
    if (part === '') continue
    const at = part.indexOf('=')
    const [name, value] = (at === -1 ? [part, ''] : [part.slice(0, at), part.slice(at + 1)]).map(decodeQuery) as [
      string,
      string,
    ]
    if (name in given) {
      const field = nameOf([name], 'query')
      throw new HttpError('repeated_parameter', `${field}: is given more than once`, {
        fields: [{ field, message: 'is given more than once' }],
      })
    }
    if (!operation.query || !Object.hasOwn(operation.query.shape, name)) {
      const field = nameOf([name], 'query')
      throw new AppError('invalid', 'unknown_field', `${field}: is not known here`, {
        fields: [{ field, message: 'is not known here' }],
      })
    }
    if (value.includes('\0')) throw invalid(name, 'must not have a NUL character')
    given[name] = value
  }
  return operation.query ? parse(operation.query, { ...given }, 'query') : undefined
}

function decodeQuery(part: string): string {
  try {
    return decodeURIComponent(part.replaceAll('+', ' '))
  } catch {
    throw invalid('query', 'is not validly percent-encoded UTF-8')
  }
}

const headersOf = (req: Request, names: string[]) =>
  Object.fromEntries(
    names.flatMap((name) =>
      req.headers[name.toLowerCase()] === undefined ? [] : [[name, req.headers[name.toLowerCase()]]],
    ),
  )

/**
 * Lets pages of the listed origins call the API; for all others there is no CORS here, OPTIONS
 * included.
 */
function allowOrigins(origins: string[]): RequestHandler {
  const exposedHeaders = [
    'ETag',
    'Location',
    'RateLimit',
    'RateLimit-Policy',
    'Retry-After',
    'traceparent',
    'X-Request-Id',
  ]
  const allow = cors({ origin: origins, methods: ['GET', 'POST', 'PUT', 'PATCH'], exposedHeaders, maxAge: 600 })
  return (req, res, next) => {
    if (origins.length > 0) res.vary('Origin')
    if (origins.includes(req.headers.origin ?? '')) allow(req, res, next)
    else next()
  }
}

const checkUrl: RequestHandler = (req, _res, next) => {
  if (req.originalUrl.length > maxUrlLength)
    throw new HttpError('uri_too_long', `The URL is longer than ${maxUrlLength} characters`)
  try {
    decodeURIComponent(req.path)
  } catch {
    throw new HttpError('bad_path', 'The path is not validly percent-encoded UTF-8', {
      fields: [{ field: 'path', message: 'is not validly percent-encoded UTF-8' }],
    })
  }
  next()
}

const observedOf = (res: Response) => res.locals.observed as Observed

const named =
  (route: string): RequestHandler =>
  (_req, res, next) => {
    observedOf(res).route = route
    next()
  }

/**
 * Counts requests by client address in a fixed window, and says so in the RateLimit headers.
 * (`validate` would write to the console what clients may provoke.)
 */
const limiter = (limit: number, windowMs: number, skip?: (req: Request) => Promise<boolean>): RequestHandler =>
  rateLimit({
    limit,
    windowMs,
    ...(skip ? { skip } : {}),
    standardHeaders: 'draft-8',
    legacyHeaders: false,
    validate: false,
    identifier: `${limit}-in-${windowMs / 1000}s`,
    handler: () => {
      throw new HttpError('too_many_requests', 'Too many requests from this address; Retry-After says when to go on')
    },
  })

async function bearsStaffToken(auth: Auth, req: Request): Promise<boolean> {
  if (req.headers.authorization === undefined) return false
  return auth.authenticate(req.headers.authorization, { timeoutMs: 1_000 }).then(isStaff, () => false)
}

const answerProblem: ErrorRequestHandler = (error, req, res, _next) => {
  // express refuses a parameter that it cannot decode before any handler runs.
  const cause =
    error instanceof URIError ? new HttpError('bad_path', 'The path is not validly percent-encoded UTF-8') : error
  const { body, headers } = problemOf(cause, { path: req.path.slice(0, 500), traceId: activeTraceId() })
  observedOf(res).error = { code: body.code, cause }
  if (res.headersSent) return void req.destroy()
  res
    .status(body.status)
    .set({ ...headers, 'Cache-Control': 'no-store' })
    .setHeader('Content-Type', problemMediaType)
  res.end(JSON.stringify(body))
}

/**
 * The page that shows the OpenAPI document: three files of our own, so that it works without the
 * internet and under a strict policy.
 */
function docs(app: Express, limit: RequestHandler): void {
  const policy = contentSecurityPolicy({
    useDefaults: false,
    directives: {
      defaultSrc: ["'none'"],
      scriptSrc: ["'self'"],
      styleSrc: ["'self'"],
      connectSrc: ["'self'"],
      imgSrc: ["'self'", 'data:'],
      baseUri: ["'none'"],
      formAction: ["'none'"],
      frameAncestors: ["'none'"],
    },
  })
  for (const [path, file, type] of [
    ['/docs', 'index.html', 'html'],
    ['/docs/docs.css', 'docs.css', 'css'],
    ['/docs/docs.js', 'docs.js', 'js'],
  ] as const) {
    const content = readFileSync(new URL(`docs/${file}`, import.meta.url), 'utf8')
    app.get(
      path,
      named(path),
      limit,
      policy,
      (_req, res) => void res.set('Cache-Control', 'no-cache').type(type).send(content),
    )
  }
}
