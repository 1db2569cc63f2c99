import { randomUUID } from 'node:crypto'
import type { RequestHandler, Response } from 'express'
import { SpanStatusCode, trace } from '@opentelemetry/api'
import { Histogram } from 'prom-client'
import type { Logger } from '#lib/logger.ts'
import { contextOfHeaders, SpanKind, traceparent, withSpan } from '#lib/telemetry.ts'

const duration = new Histogram({
  name: 'http_server_duration_seconds',
  help: 'Duration of HTTP requests by route, method and status',
  labelNames: ['route', 'method', 'status'],
  buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5],
})

/** What later handlers know about a request, for its span, log line and metric. */
export type RequestInfo = {
  requestId: string
  /**
   * The path as in OpenAPI: a metric must not get a label for each id, nor for paths that strangers
   * invent.
   */
  route: string
  userId?: string
  error?: { code: string; cause: unknown }
}

const validRequestId = /^[\w.:+/=-]{1,128}$/
const quiet = new Set(['/livez', '/readyz'])
const methods = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'])
/** nginx's status for a client that closed the connection before the response. */
const clientClosedRequest = 499

/**
 * An accepted request is a line of the edge's log, and a change is a line of the service that made
 * it: here only what was refused or failed is worth one.
 */
const levelOf = (status: number) => (status >= 500 ? 'error' : status >= 400 ? 'info' : 'debug')

/**
 * Records one span, one duration and, unless it succeeds, one log line per request. The span
 * continues the client's `traceparent`; the response carries that of the span, which leads to an
 * order's trace. Bodies, tokens and queries are never logged.
 */
export const observe =
  (log: Logger): RequestHandler =>
  (req, res, next) => {
    const started = performance.now()
    const sentId = single(req.headersDistinct['x-request-id'])
    const requestId = sentId !== undefined && validRequestId.test(sentId) ? sentId : randomUUID()
    const info: RequestInfo = { requestId, route: 'none' }
    res.locals.requestInfo = info
    res.setHeader('X-Request-Id', requestId)
    if (quiet.has(req.path)) return next()

    const method = methods.has(req.method) ? req.method : 'other'
    void withSpan(
      method,
      {
        kind: SpanKind.SERVER,
        parent: contextOfHeaders({
          traceparent: single(req.headersDistinct.traceparent),
          tracestate: single(req.headersDistinct.tracestate),
        }),
      },
      (span) =>
        new Promise<void>((resolve) => {
          // By the time of the response the connection, and with it the address, may be gone.
          const { path, protocol: scheme, ip: client } = span.isRecording() ? req : ({} as Partial<typeof req>)
          const ownTraceparent = traceparent()
          if (ownTraceparent) res.setHeader('traceparent', ownTraceparent)
          res.once('close', () => {
            const status = res.writableFinished ? res.statusCode : clientClosedRequest
            const seconds = (performance.now() - started) / 1000
            const { route, userId, error } = info
            if (span.isRecording()) {
              span.updateName(`${method} ${route}`)
              span.setAttributes({
                'http.request.method': method,
                'url.path': path,
                'url.scheme': scheme,
                'client.address': client,
                'user_agent.original': req.headers['user-agent'],
                'http.route': route,
                'http.response.status_code': status,
                ...(userId ? { 'enduser.id': userId } : {}),
                ...(error ? { 'error.type': error.code } : {}),
              })
              if (status >= 500) span.setStatus({ code: SpanStatusCode.ERROR })
            }
            duration.observe({ route, method, status }, seconds)
            const level = levelOf(status)
            if (log.isLevelEnabled(level)) {
              const durationMs = Math.round(seconds * 10_000) / 10
              const line = { route, method, status, durationMs, requestId, userId, code: error?.code }
              if (status >= 500 && error?.code !== 'orders_busy')
                log.error({ ...line, err: error?.cause }, 'request failed')
              else log[level](line, 'request')
            }
            resolve()
          })
          next()
        }),
    )
  }

/** Returns what `observe` records about the request of a response. */
export const requestInfo = (res: Response) => res.locals.requestInfo as RequestInfo

/** Records the route of a request; `route` is the path as in OpenAPI. */
export const setRoute =
  (route: string): RequestHandler =>
  (_req, res, next) => {
    requestInfo(res).route = route
    next()
  }

/** Returns the id of the request's trace, undefined while tracing is off. */
export function activeTraceId(): string | undefined {
  const context = trace.getActiveSpan()?.spanContext()
  return context && !/^0+$/.test(context.traceId) ? context.traceId : undefined
}

const single = (values: string[] | undefined) => (values?.length === 1 ? values[0] : undefined)
