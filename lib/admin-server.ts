import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { collectDefaultMetrics, register, type Registry } from 'prom-client'

/** `true` for ready, a reason for not ready, or an object that is sent as JSON. */
export type Readiness = true | string | { ready: boolean; [detail: string]: unknown }

/**
 * Serves /livez (the process runs), /readyz (200 if it can do its work, else 503 with the reason)
 * and /metrics (Prometheus, from `registry`) on `host`. Returns a function that closes the server;
 * its `port` is the one the server listens on, which matters for port 0.
 */
export async function serveAdmin(
  port: number,
  ready: () => Promise<Readiness> | Readiness = () => true,
  { host = '127.0.0.1', registry = register }: { host?: string; registry?: Registry } = {},
): Promise<(() => void) & { port: number }> {
  // How late the event loop is, is measured by a timer: every 10 ms by default, which is what wakes
  // an idle process most.
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: 100 })

  async function respond(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const path = req.url?.split('?')[0]
    if (path === '/livez') return void res.end('ok\n')
    if (path === '/readyz') return sendReadiness(res, await readiness())
    if (path === '/metrics') {
      const text = await registry.metrics()
      res.setHeader('content-type', registry.contentType)
      return void res.end(text)
    }
    res.statusCode = 404
    res.end()
  }

  async function readiness(): Promise<Readiness> {
    try {
      return await ready()
    } catch (error) {
      return error instanceof Error ? error.message : String(error)
    }
  }

  const server = createServer((req, res) => {
    respond(req, res).catch(() => {
      res.statusCode = 500
      res.end()
    })
  })
  server.listen(port, host)
  await once(server, 'listening')
  const close = () => {
    server.close()
    server.closeAllConnections()
  }
  return Object.assign(close, { port: (server.address() as AddressInfo).port })
}

function sendReadiness(res: ServerResponse, readiness: Readiness): void {
  const isReady = typeof readiness === 'object' ? readiness.ready : readiness === true
  res.statusCode = isReady ? 200 : 503
  if (typeof readiness === 'object') {
    res.setHeader('content-type', 'application/json')
    res.end(JSON.stringify(readiness))
  } else res.end(isReady ? 'ok\n' : `${readiness}\n`)
}
