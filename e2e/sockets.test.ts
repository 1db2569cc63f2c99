import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { beforeAll, expect, inject, it } from 'vitest'
import { serviceNames } from '../platform/processes/services.ts'
import { attachShop, type Shop } from '../platform/start/shop.ts'
import { place, product, shopper, terminal } from './shop-client.ts'

// A service's process connects to its own sidecar and the OTLP collector, and to nothing else: no
// database, no broker, no other service.

let shop: Shop
beforeAll(async () => {
  shop = await attachShop(inject('shopInstance'))
  // Makes every service work, so that all its connections exist.
  const who = await shopper()
  await terminal(who, (await place(who, await product(1))).body.id)
})

type Socket = { local: number; remote: number; listens: boolean; remoteHost: string }

/**
 * Returns the TCP sockets of a process, read from /proc (man 5 proc_net: hexadecimal addresses,
 * state 0A is listening).
 */
function socketsOf(pid: number): Socket[] {
  const inodes = new Set(
    readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
      try {
        return /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1] ?? []
      } catch {
        return [] // closed since readdir
      }
    }),
  )
  return ['tcp', 'tcp6'].flatMap((table) =>
    readFileSync(`/proc/${pid}/net/${table}`, 'utf8')
      .trim()
      .split('\n')
      .slice(1)
      .flatMap((line) => {
        const [, local, remote, state, , , , , , inode] = line.trim().split(/\s+/)
        if (!inodes.has(inode!)) return []
        const port = (address: string) => Number.parseInt(address.split(':')[1]!, 16)
        return {
          local: port(local!),
          remote: port(remote!),
          listens: state === '0A',
          remoteHost: remote!.split(':')[0]!,
        }
      }),
  )
}

it.skipIf(process.platform !== 'linux').each(serviceNames)(
  '%s has no sockets but its own and those to its sidecar and the collector',
  async (name) => {
    const { ports } = shop
    const own = ports.services[name]
    const sockets = socketsOf(await shop.process(name).pid())
    const listening = sockets.filter((s) => s.listens).map((s) => s.local)
    expect(new Set(listening)).toEqual(new Set([own.app, own.admin]))
    const unexpected = sockets.filter(
      (s) =>
        !s.listens &&
        ![own.app, own.admin].includes(s.local) &&
        ![own.daprGrpc, own.daprHttp, ports.otlp].includes(s.remote),
    )
    expect(unexpected).toEqual([])
    // search's state is an index, which its sidecar reaches by HTTP.
    expect(sockets.some((s) => s.remote === (name === 'search' ? own.daprHttp : own.daprGrpc))).toBe(true)
  },
)
