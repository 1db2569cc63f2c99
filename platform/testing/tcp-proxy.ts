// A way to a server that a test can spoil: what the network does to connections, without touching
// the server.
import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'

export type TcpProxy = {
  port: number
  /** Ends all connections as a reset does, and takes no new ones. */
  cut: () => Promise<void>
  /** From now on nothing passes in either direction; connections are taken, and stay. */
  silence: () => void
  /** From now on requests reach the server, and its answers are thrown away. */
  dropAnswers: () => void
  /** Takes connections and lets everything pass again. Connections that lost bytes are ended. */
  restore: () => Promise<void>
  close: () => Promise<void>
}

/**
 * @param o.rewrite changes what the server sends, such as the address by which it wants to be found
 * @param o.listening false: it takes no connection until `restore`
 */
export async function startTcpProxy(
  host: string,
  port: number,
  o: { rewrite?: (answer: Buffer, ownPort: number) => Buffer; listening?: boolean } = {},
): Promise<TcpProxy> {
  let mode: 'open' | 'silent' | 'deaf' = 'open'
  const connections = new Set<Socket>()
  const server = createServer((incoming) => {
    const outgoing = connect(port, host)
    incoming.on('data', (chunk) => {
      if (mode !== 'silent') outgoing.write(chunk)
    })
    outgoing.on('data', (chunk) => {
      if (mode === 'open') incoming.write(o.rewrite ? o.rewrite(chunk, own) : chunk)
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
  if (o.listening === false) await cut()
  return {
    port: own,
    cut,
    silence: () => void (mode = 'silent'),
    dropAnswers: () => void (mode = 'deaf'),
    async restore() {
      // A stream with a hole in it makes no sense to anybody.
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
 * A proxy for MongoDB: a member of a replica set names its own address in its answers, and drivers
 * would go there past the proxy.
 * @param server host:port, as the server names itself
 */
export function startMongodbProxy(server: string): Promise<TcpProxy> {
  const [host = '', port = ''] = server.split(':')
  return startTcpProxy(host, Number(port), {
    rewrite: (answer, ownPort) => {
      const own = `${host}:${ownPort}`
      // An answer's parts carry their lengths.
      if (own.length !== server.length) throw new Error(`${own} does not fit into the place of ${server}`)
      for (let at = answer.indexOf(server); at >= 0; at = answer.indexOf(server, at + 1)) answer.write(own, at)
      return answer
    },
  })
}

/**
 * A proxy for Kafka: the broker names its own address in its answers, and clients would go there
 * past the proxy.
 * @param broker host:port with an IPv4 address, as the broker advertises it
 */
export function startKafkaProxy(broker: string, o: { listening?: boolean } = {}): Promise<TcpProxy> {
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
    ...o,
    rewrite: (answer, ownPort) => {
      for (let at = answer.indexOf(address); at >= 0; at = answer.indexOf(address, at + 1))
        name(ownPort).copy(answer, at)
      return answer
    },
  })
}
