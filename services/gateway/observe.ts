import { randomUUID } from 'node:crypto'
import type { RequestHandler } from 'express'
import { SpanStatusCode, trace } from '@opentelemetry/api'
import { Histogram } from 'prom-client'
import type { Logger } from '#lib/logger.ts'
import { contextOfHeaders, SpanKind, traceparent, withSpan } from '#lib/telemetry.ts'

const duration = new Histogram({
  name: 'http_server_duration_seconds',
  help: 'Time to answer an HTTP request, by route, method and status',
  labelNames: ['route', 'method', 'status'],
  buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5],
})

/** What the middleware after this one tells of a request. */
export type Observed = {
  requestId: string
  /**
   * The path as in OpenAPI; a metric must not have a label for each id, nor for what strangers make
   * up.
   */
  route: string
  userId?: string
  error?: { code: string; cause: unknown }
}

const acceptable = /^[\w.:+/=-]{1,128}$/
const quiet = new Set(['/livez', '/readyz'])
const methods = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'])
/** nginx's word for a client that did not wait for its answer. */
const clientGone = 499

/**
 * One span, one log line and one measurement a request. The span continues the client's
 * `traceparent`; the answer carries the span's own, so that whoever placed an order can find its
 * trace. No body, no token and no query is logged.
 */
export const observe =
  (log: Logger): RequestHandler =>
  (req, res, next) => {
    const started = performance.now()
    const given = req.headersDistinct['x-request-id']
    const requestId = given?.length === 1 && acceptable.test(given[0]!) ? given[0]! : randomUUID()
    const observed: Observed = { requestId, route: 'none' }
    res.locals.observed = observed
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
        attributes: {
          'http.request.method': method,
          'url.path': req.path,
          'url.scheme': req.protocol,
          'client.address': req.ip,
          'user_agent.original': req.get('user-agent'),
        },
      },
      (span) =>
        new Promise<void>((resolve) => {
          const own = traceparent()
          if (own) res.setHeader('traceparent', own)
          res.once('close', () => {
            const status = res.writableFinished ? res.statusCode : clientGone
            const seconds = (performance.now() - started) / 1000
            const { route, userId, error } = observed
            span.updateName(`${method} ${route}`)
            span.setAttributes({
              'http.route': route,
              'http.response.status_code': status,
              ...(userId ? { 'enduser.id': userId } : {}),
              ...(error ? { 'error.type': error.code } : {}),
            })
            if (status >= 500) span.setStatus({ code: SpanStatusCode.ERROR })
            duration.observe({ route, method, status }, seconds)
            const line = {
              route,
              method,
              status,
              durationMs: Math.round(seconds * 10_000) / 10,
              requestId,
              userId,
              code: error?.code,
            }
            if (status >= 500) log.error({ ...line, err: error?.cause }, 'request failed')
            else log.info(line, 'request')
            resolve()
          })
          next()
        }),
    )
  }

/** The trace that the request belongs to; none while nothing collects traces. */
export function activeTraceId(): string | undefined {
  const context = trace.getActiveSpan()?.spanContext()
  return context && !/^0+$/.test(context.traceId) ? context.traceId : undefined
}

const single = (values: string[] | undefined) => (values?.length === 1 ? values[0] : undefined)
