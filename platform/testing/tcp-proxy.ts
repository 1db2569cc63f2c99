// A proxy in front of a server that lets a test break connections as a network does.
import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'

export type TcpProxy = {
  port: number
  /** Resets all connections and refuses new ones. */
  cut: () => Promise<void>
  /** Passes nothing in either direction from now on; connections are accepted and stay open. */
  silence: () => void
  /** Passes requests to the server and discards its responses from now on. */
  dropAnswers: () => void
  /** Accepts connections and passes everything again. Closes connections that have lost bytes. */
  restore: () => Promise<void>
  close: () => Promise<void>
}

/**
 * Starts a proxy to a server.
 * @param options.rewrite changes what the server sends, such as its advertised address
 * @param options.listening false: refuse connections until `restore`
 */
export async function startTcpProxy(
  host: string,
  port: number,
  { rewrite, listening = true }: { rewrite?: (bytes: Buffer, ownPort: number) => Buffer; listening?: boolean } = {},
): Promise<TcpProxy> {
  let mode: 'open' | 'silent' | 'deaf' = 'open'
  const connections = new Set<Socket>()
  const server = createServer((incoming) => {
    const outgoing = connect(port, host)
    incoming.on('data', (chunk) => {
      if (mode !== 'silent') outgoing.write(chunk)
    })
    outgoing.on('data', (chunk) => {
      if (mode === 'open') incoming.write(rewrite ? rewrite(chunk, own) : chunk)
    })
    for (const [one, other] of [
      [incoming, outgoing],
      [outgoing, incoming],
    ] as const) {
      connections.add(one)
      one.on('error', () => {})
      one.on('close', () => {
        connections.delete(one)
        other.destroy()
      })
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const own = (server.address() as AddressInfo).port

  const endAll = () => {
    for (const connection of connections) connection.destroy()
  }
  const cut = async () => {
    if (!server.listening) return
    const closed = once(server, 'close')
    server.close()
    endAll()
    await closed
  }
  if (!listening) await cut()
  return {
    port: own,
    cut,
    silence: () => void (mode = 'silent'),
    dropAnswers: () => void (mode = 'deaf'),
    async restore() {
      // A stream with a gap is useless to either side.
      if (mode !== 'open') endAll()
      mode = 'open'
      if (server.listening) return
      server.listen(own, '127.0.0.1')
      await once(server, 'listening')
    },
    close: cut,
  }
}

/**
 * Starts a proxy for MongoDB. A member of a replica set names its own address in its responses, and
 * drivers would connect to that, past the proxy.
 * @param server host:port, as the server names itself
 */
export function startMongodbProxy(server: string): Promise<TcpProxy> {
  const [host = '', port = ''] = server.split(':')
  return startTcpProxy(host, Number(port), {
    rewrite: (bytes, ownPort) => {
      const own = `${host}:${ownPort}`
      // A response's parts carry their lengths.
      if (own.length !== server.length) throw new Error(`${own} and ${server} must have the same length`)
      for (let at = bytes.indexOf(server); at >= 0; at = bytes.indexOf(server, at + 1)) bytes.write(own, at)
      return bytes
    },
  })
}

/**
 * Starts a proxy for Kafka. The broker names its own address in its responses, and clients would
 * connect to that, past the proxy.
 * @param broker host:port with an IPv4 address, as the broker advertises it
 */
export function startKafkaProxy(broker: string, options: { listening?: boolean } = {}): Promise<TcpProxy> {
  const [host = '', port = ''] = broker.split(':')
  const name = (of: number) => {
    const bytes = Buffer.alloc(2 + host.length + 4)
    bytes.writeUInt16BE(host.length, 0)
    bytes.write(host, 2)
    bytes.writeUInt32BE(of, 2 + host.length)
    return bytes
  }
  const address = name(Number(port))
  return startTcpProxy(host, Number(port), {
    ...options,
    rewrite: (bytes, ownPort) => {
      for (let at = bytes.indexOf(address); at >= 0; at = bytes.indexOf(address, at + 1)) name(ownPort).copy(bytes, at)
      return bytes
    },
  })
}
