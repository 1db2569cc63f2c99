import cors from 'cors'
import type { RequestHandler } from 'express'

const exposedHeaders = [
  'ETag',
  'Idempotent-Replayed',
  'Location',
  'RateLimit',
  'RateLimit-Policy',
  'Retry-After',
  'traceparent',
  'X-Request-Id',
]

/**
 * Lets pages of the listed origins call the API. For any other origin CORS does not exist here, not
 * even for OPTIONS.
 */
export function allowOrigins(origins: string[]): RequestHandler {
  const allow = cors({
    origin: origins,
    methods: ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'],
    exposedHeaders,
    maxAge: 600,
  })
  return (req, res, next) => {
    if (origins.length > 0) res.vary('Origin')
    if (origins.includes(req.headers.origin ?? '')) allow(req, res, next)
    else next()
  }
}
