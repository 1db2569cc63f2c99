// The kernel's table of TCP sockets, as /proc/net/tcp and /proc/net/tcp6 show it:
// https://docs.kernel.org/networking/proc_net_tcp.html

export type Address = { ip: string; port: number }
export type Socket = { local: Address; remote: Address; state: 'established' | 'listening' }

const states: Record<string, Socket['state']> = { '01': 'established', '0A': 'listening' }

/** Returns the sockets of a table (one line per socket, the first is a heading). */
export function parseSockets(table: string): Socket[] {
  return table.split('\n').flatMap((line) => {
    const [, local, remote, code] = line.trim().split(/\s+/)
    const state = states[code ?? '']
    if (local === undefined || remote === undefined || state === undefined) return []
    return [{ local: parseAddress(local), remote: parseAddress(remote), state }]
  })
}

/** `0100007F:1F90` is 127.0.0.1:8080; in tcp6 an IPv4 address comes as ::ffff:a.b.c.d. */
function parseAddress(text: string): Address {
  const [address = '', port = ''] = text.split(':')
  const last = address.slice(-8)
  // Each 32-bit word is in the machine's own order, which is little-endian wherever this runs.
  const ip = [6, 4, 2, 0].map((at) => Number.parseInt(last.slice(at, at + 2), 16)).join('.')
  return {
    ip: address.length === 32 && !/^0{16}FFFF0000/.test(address) ? `ipv6 ${address}` : ip,
    port: Number.parseInt(port, 16),
  }
}
