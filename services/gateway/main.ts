import { createServer } from 'node:http'
import type { Socket } from 'node:net'
import { once } from 'node:events'
import { parseEnv } from '#lib/config.ts'
import { runApp, type App } from '#lib/run-service.ts'
import { createApp } from './app.ts'
import { createClients } from './clients.ts'
import { gatewayEnv } from './config.ts'
import { closeServer } from './http/closing.ts'
import { HttpError, problemMediaType, problemOf } from './http/problem.ts'

const config = parseEnv(gatewayEnv)

async function listen({ dapr, log, ready, onClose }: App): Promise<void> {
  const app = createApp({
    clients: createClients(dapr),
    log,
    ready,
    corsOrigins: config.CORS_ORIGINS,
    trustProxyHops: config.TRUST_PROXY_HOPS,
    limits: {
      apiPer10s: config.RATE_LIMIT_PER_10S,
      staffPer10s: config.STAFF_RATE_LIMIT_PER_10S,
      authPerMinute: config.AUTH_RATE_LIMIT_PER_MIN,
    },
  })
  const server = createServer(
    {
      // Against clients that hold connections by sending slowly: headers within 5 s, the whole
      // request within 10 s, checked every second.
      headersTimeout: 5_000,
      requestTimeout: 10_000,
      keepAliveTimeout: 30_000,
      connectionsCheckingInterval: 1_000,
      maxHeaderSize: 16 * 1024,
    },
    app,
  )
  server.on('clientError', refuse)
  server.listen(config.APP_PORT, config.APP_HOST)
  await once(server, 'listening')
  onClose('HTTP server', () => closeServer(server))
}

await runApp('gateway', config, listen, { limitCallers: true })

/**
 * Responds with a problem to what never becomes a request: bytes that are not HTTP, or came too
 * late.
 */
function refuse(error: Error & { code?: string }, socket: Socket): void {
  if (!socket.writable) return
  const problem =
    error.code === 'HPE_HEADER_OVERFLOW'
      ? new HttpError('headers_too_large', 'The URL and the headers are larger than 16 KiB')
      : error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
        ? new HttpError('request_timeout', 'The request did not arrive in time')
        : new HttpError('bad_request', 'The request is not valid HTTP')
  const { body } = problemOf(problem, { path: '' })
  const json = JSON.stringify(body)
  const head = [
    `HTTP/1.1 ${body.status} ${body.title}`,
    `Content-Type: ${problemMediaType}`,
    `Content-Length: ${Buffer.byteLength(json)}`,
    'Connection: close',
  ]
  socket.end(`${head.join('\r\n')}\r\n\r\n${json}`)
}
