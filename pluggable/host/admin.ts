import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Registry } from 'prom-client'

/**
 * /livez, /readyz and /metrics on one address. Ready means that the socket listens, since daprd
 * sends Init only after that: an instance that cannot reach its server is shown in the body and in
 * the metrics, not as "not ready".
 */
export async function serveAdmin(
  port: number,
  host: string,
  registry: Registry,
  instances: () => { name: string; open: boolean }[],
) {
  const server = createServer((request, response) => {
    const path = (request.url ?? '').split('?')[0]
    if (path === '/livez') return void response.end('ok\n')
    if (path === '/readyz') {
      response.setHeader('content-type', 'application/json')
      return void response.end(JSON.stringify({ ready: true, instances: instances() }))
    }
    if (path === '/metrics') {
      registry.metrics().then(
        (text) => {
          response.setHeader('content-type', registry.contentType)
          response.end(text)
        },
        () => {
          response.statusCode = 500
          response.end()
        },
      )
      return
    }
    response.statusCode = 404
    response.end()
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, resolve)
  })
  return {
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}
