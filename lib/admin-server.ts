import { createServer } from 'node:http'
import { once } from 'node:events'
import { collectDefaultMetrics, register } from 'prom-client'

/**
 * Serves /livez (the process runs), /readyz (it can do its work: 200, else 503 with the reason) and
 * /metrics (Prometheus) on loopback. Returns a function that closes the server.
 */
export async function serveAdmin(
  port: number,
  ready: () => Promise<true | string> = async () => true,
): Promise<() => void> {
  collectDefaultMetrics()
  const server = createServer(async (req, res) => {
    const path = req.url?.split('?')[0]
    if (path === '/livez') return void res.end('ok\n')
    if (path === '/readyz') {
      const answer = await ready().catch((e: Error) => e.message)
      res.statusCode = answer === true ? 200 : 503
      return void res.end(answer === true ? 'ok\n' : `${answer}\n`)
    }
    if (path === '/metrics') {
      res.setHeader('content-type', register.contentType)
      return void res.end(await register.metrics())
    }
    res.statusCode = 404
    res.end()
  })
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  return () => {
    server.close()
    server.closeAllConnections()
  }
}
