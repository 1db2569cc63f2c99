import { setTimeout as delay } from 'node:timers/promises'

export type ApiProblem = { status: number; code: string; detail: string; errors?: { field: string; message: string }[] }

/** A response other than 2xx for which a retry does not help. */
export class ApiError extends Error {
  readonly problem: ApiProblem

  constructor(problem: ApiProblem) {
    super(`${problem.status} ${problem.code}: ${problem.detail}`)
    this.name = 'ApiError'
    this.problem = problem
  }
}

export type Answer<T> = { status: number; body: T }
export type Api = ReturnType<typeof createApi>

type Session = { accessToken: string; refreshToken: string; expiresInSeconds: number }

const callTimeoutMs = 15_000
/** A request with many lines may take longer. */
const linesTimeoutMs = 40_000
const linesMediaType = 'application/x-ndjson'

/** Lines of JSON to send as they are. */
type Lines = { lines: string }

/**
 * Creates a client of the shop's REST API that is logged in to one account. Retries 429, 503, 504
 * and lost connections for up to `retryForMs` per request and heeds Retry-After, so call only what
 * may be repeated. Renews tokens before they expire. Throws ApiError.
 */
export function createApi({
  url,
  email,
  password,
  retryForMs = 120_000,
}: {
  url: string
  email: string
  password: string
  retryForMs?: number
}) {
  let session: (Session & { expiresAt: number }) | undefined
  let renewing: Promise<void> | undefined

  async function renew(): Promise<void> {
    const fresh = (await refreshed()) ?? (await send<Session>('POST', '/v1/sessions', { email, password })).body
    session = { ...fresh, expiresAt: Date.now() + fresh.expiresInSeconds * 1000 }
  }

  /** Returns undefined without a session, or when its refresh token is no longer valid. */
  async function refreshed(): Promise<Session | undefined> {
    if (!session) return undefined
    const { refreshToken } = session
    session = undefined
    try {
      return (await send<Session>('POST', '/v1/sessions/refresh', { refreshToken })).body
    } catch (error) {
      if (error instanceof ApiError && error.problem.status === 401) return undefined
      throw error
    }
  }

  async function token(): Promise<string> {
    if (!session || session.expiresAt - Date.now() < 30_000) {
      renewing ??= renew().finally(() => (renewing = undefined))
      await renewing
    }
    return session!.accessToken
  }

  async function send<T>(
    method: string,
    path: string,
    body?: unknown,
    auth?: () => Promise<string>,
  ): Promise<Answer<T>> {
    const giveUpAt = Date.now() + retryForMs
    for (let attempt = 1, unauthorised = 0; ; attempt++) {
      const outcome = await ask(method, path, body, auth && (await auth()))
      if ('response' in outcome) {
        const { response, json } = outcome
        if (response.ok) return { status: response.status, body: json as T }
        const problem = problemOf(response, json)
        if (response.status === 401 && auth && unauthorised++ === 0) {
          // The signing keys have changed, or the clocks differ.
          if (session) session.expiresAt = 0
          continue
        }
        const isTransient =
          [429, 503, 504].includes(response.status) || problem.code === 'conflict' || problem.code === 'etag_mismatch'
        if (!isTransient || Date.now() > giveUpAt) throw new ApiError(problem)
        const seconds = Number(response.headers.get('retry-after') ?? 0)
        await delay(Math.max(Number.isFinite(seconds) ? seconds * 1000 : 0, backoff(attempt)))
      } else {
        if (Date.now() > giveUpAt) throw new Error(`${url} does not respond: ${outcome.lost}`)
        await delay(backoff(attempt))
      }
    }
  }

  async function ask(
    method: string,
    path: string,
    body: unknown,
    bearer: string | undefined,
  ): Promise<{ response: Response; json: unknown } | { lost: string }> {
    try {
      const response = await fetch(url + path, {
        method,
        signal: AbortSignal.timeout(isLines(body) ? linesTimeoutMs : callTimeoutMs),
        headers: {
          ...(body === undefined ? {} : { 'content-type': isLines(body) ? linesMediaType : 'application/json' }),
          ...(bearer ? { authorization: `Bearer ${bearer}` } : {}),
        },
        ...(body === undefined ? {} : { body: isLines(body) ? body.lines : JSON.stringify(body) }),
      })
      const text = await response.text()
      const hasLines = response.headers.get('content-type')?.startsWith(linesMediaType)
      return { response, json: hasLines ? text.trimEnd().split('\n').map(parseJson) : parseJson(text) }
    } catch (error) {
      return {
        lost:
          error instanceof Error ? String((error.cause as Error | undefined)?.message ?? error.message) : String(error),
      }
    }
  }

  const authorised = <T>(method: string, path: string, body?: unknown) => send<T>(method, path, body, token)

  return {
    url,
    /** Logs in now, so a wrong password or address fails before any work. */
    logIn: async (): Promise<void> => void (await token()),
    get: <T>(path: string) => authorised<T>('GET', path),
    put: <T>(path: string, body: unknown) => authorised<T>('PUT', path, body),
    post: <T>(path: string, body: unknown) => authorised<T>('POST', path, body),
    /** Sends a line of JSON for each item. Returns the lines of the response. */
    postLines: <T>(path: string, items: unknown[]) =>
      authorised<T[]>('POST', path, {
        lines: items.map((item) => `${JSON.stringify(item)}\n`).join(''),
      } satisfies Lines),
  }
}

const isLines = (body: unknown): body is Lines => typeof body === 'object' && body !== null && 'lines' in body

const backoff = (attempt: number) => Math.random() * Math.min(2_000, 100 * 2 ** attempt)

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** Proxies between here and the shop may not send problem+json. */
function problemOf(response: Response, json: unknown): ApiProblem {
  const problem = (json ?? {}) as Partial<ApiProblem>
  return {
    ...problem,
    status: response.status,
    code: problem.code ?? 'unknown',
    detail: problem.detail ?? response.statusText,
  }
}
