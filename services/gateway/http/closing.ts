import type { Server, ServerResponse } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'

/**
 * Closes a server without losing a request of a proxy that keeps its connections. Node's own
 * `close` does not tell clients: it closes idle connections under requests that are on their way,
 * and keeps serving the others. So every response first says that its connection ends, for
 * `drainMs` or until there are no connections left. Then idle ones are closed, and those in use
 * after `deadlineMs`.
 */
export async function closeServer(
  server: Server,
  { drainMs = 1_000, deadlineMs = 5_000 }: { drainMs?: number; deadlineMs?: number } = {},
): Promise<void> {
  server.prependListener('request', (_req, res: ServerResponse) => void res.setHeader('Connection', 'close'))
  const drainedAt = Date.now() + drainMs
  while (Date.now() < drainedAt && (await connectionCount(server)) > 0) await sleep(20)

  // Those of requests that were in flight from the beginning do not know that they end.
  const idle = setInterval(() => server.closeIdleConnections(), 20)
  const late = setTimeout(() => server.closeAllConnections(), deadlineMs)
  await new Promise((resolve) => server.close(resolve))
  clearInterval(idle)
  clearTimeout(late)
}

function connectionCount(server: Server): Promise<number> {
  return new Promise((resolve, reject) =>
    server.getConnections((error, count) => (error ? reject(error) : resolve(count))),
  )
}
