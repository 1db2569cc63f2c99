import { createServer } from 'node:net'

/**
 * Where single ports are taken from: below the blocks of shops, and below the ports that Linux uses
 * for outgoing connections (ip_local_port_range). What the system chooses for port 0 is one of
 * those, which a connection may take again before the process that it is for has started.
 */
const range = { from: 10_000, to: 20_000 }
/** So far apart do processes that choose at the same time begin. */
const perProcess = 50

let next = (process.pid * perProcess) % (range.to - range.from)

/** Returns different ports that nothing listens on now. */
export async function freePorts(count: number): Promise<number[]> {
  const ports: number[] = []
  while (ports.length < count) {
    const port = range.from + next
    next = (next + 1) % (range.to - range.from)
    if (await isFree(port)) ports.push(port)
  }
  return ports
}

/** Whether no process listens on a port of loopback. */
export function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer()
    probe.once('error', () => resolve(false))
    probe.listen({ port, host: '127.0.0.1', exclusive: true }, () => probe.close(() => resolve(true)))
  })
}
