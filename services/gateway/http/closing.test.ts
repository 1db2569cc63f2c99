import { once } from 'node:events'
import { Agent, createServer, request, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { closeServer } from './closing.ts'

let server: Server
let port: number
const agent = new Agent({ keepAlive: true, maxSockets: 1 })
afterEach(() => {
  agent.destroy()
  server.closeAllConnections()
})

async function listen(listener: RequestListener): Promise<void> {
  server = createServer({ keepAliveTimeout: 30_000 }, listener).listen(0, '127.0.0.1')
  await once(server, 'listening')
  port = (server.address() as AddressInfo).port
}

/** Sends a request on the one kept connection. @returns the response's Connection header */
function send(path = '/'): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    const sent = request({ host: '127.0.0.1', port, path, agent }, (response) => {
      response.resume().on('end', () => resolve(response.headers.connection))
    })
    sent.on('error', reject).end()
  })
}

test('a request on a kept connection is served while the server closes, and ends that connection', async () => {
  await listen((_req, res) => res.end('ok'))
  expect(await send()).toBe('keep-alive')
  const closed = closeServer(server)
  expect(await send()).toBe('close')
  await closed
  await expect(send()).rejects.toThrow('ECONNREFUSED')
})

test('a request in flight is finished', async () => {
  let finish = () => {}
  await listen((_req, res) => void (finish = () => res.end('ok')))
  const inFlight = send()
  await once(server, 'request')
  const closed = closeServer(server, { drainMs: 10 })
  setTimeout(() => finish(), 100)
  await expect(inFlight).resolves.toBeDefined()
  await closed
})

test('a request that does not end is cut off at the deadline', async () => {
  await listen(() => {})
  const [stuck] = await Promise.all([
    send().catch((error: Error) => error.message),
    once(server, 'request').then(() => closeServer(server, { drainMs: 10, deadlineMs: 50 })),
  ])
  expect(stuck).toBe('socket hang up')
})

test('without connections it is closed at once', async () => {
  await listen((_req, res) => res.end('ok'))
  const started = performance.now()
  await closeServer(server, { drainMs: 60_000 })
  expect(performance.now() - started).toBeLessThan(1_000)
})
