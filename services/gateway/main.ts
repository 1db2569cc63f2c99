import { createServer, type Server } from 'node:http'
import type { Socket } from 'node:net'
import { once } from 'node:events'
import { serveAdmin } from '#lib/admin-server.ts'
import { parseEnv } from '#lib/config.ts'
import { createDapr } from '#lib/dapr.ts'
import { runProcess } from '#lib/lifecycle.ts'
import { createLogger } from '#lib/logger.ts'
import { sidecarReady } from '#lib/sidecar-ready.ts'
import { startTelemetry } from '#lib/telemetry.ts'
import { createApp } from './app.ts'
import { createClients } from './clients.ts'
import { gatewayEnv } from './config.ts'
import { HttpError, problemMediaType, problemOf } from './http/problem.ts'

const config = parseEnv(gatewayEnv)
const log = await createLogger({ service: 'gateway', level: config.LOG_LEVEL, format: config.LOG_FORMAT })

await runProcess(log, async (onClose) => {
  onClose('telemetry', await startTelemetry('gateway', config.OTEL_EXPORTER_OTLP_ENDPOINT))
  const dapr = createDapr({
    grpcPort: config.DAPR_GRPC_PORT,
    httpPort: config.DAPR_HTTP_PORT,
    apiToken: config.DAPR_API_TOKEN,
  })
  onClose('sidecar connection', dapr.close)
  const ready = sidecarReady(config.DAPR_HTTP_PORT)
  onClose('admin server', await serveAdmin(config.ADMIN_PORT, ready))
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
      // Against clients that hold connections by sending slowly: headers within 5 s, all of it within
      // 10 s, looked at each second.
      headersTimeout: 5_000,
      requestTimeout: 10_000,
      keepAliveTimeout: 30_000,
      connectionsCheckingInterval: 1_000,
      maxHeaderSize: 16 * 1024,
    },
    app,
  )
  server.on('clientError', refuse)
  server.listen(config.APP_PORT, '127.0.0.1')
  await once(server, 'listening')
  onClose('HTTP server', () => close(server))
})

/** What is not HTTP, or not in time, never becomes a request; it gets a problem all the same. */
function refuse(error: Error & { code?: string }, socket: Socket): void {
  if (!socket.writable) return
  const problem =
    error.code === 'HPE_HEADER_OVERFLOW'
      ? new HttpError('headers_too_large', 'The URL and the headers are larger than 16 KiB')
      : error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
        ? new HttpError('request_timeout', 'The request did not arrive in time')
        : new HttpError('bad_request', 'The request is not valid HTTP')
  const body = JSON.stringify(problemOf(problem, { path: '' }).body)
  const { status, title } = problemOf(problem, { path: '' }).body
  socket.end(
    `HTTP/1.1 ${status} ${title}\r\nContent-Type: ${problemMediaType}\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
  )
}

/** Lets answers in flight go out, and closes what is left after five seconds. */
async function close(server: Server): Promise<void> {
  const timer = setTimeout(() => server.closeAllConnections(), 5_000)
  await new Promise((resolve) => {
    server.close(resolve)
    server.closeIdleConnections()
  })
  clearTimeout(timer)
}
