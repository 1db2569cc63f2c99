// Addresses of a cluster: the node's, by a link into the host's own network, and those of its pods.

export type Network = {
  index: number
  /** The host's end of the link. It vanishes with the node's network namespace. */
  link: string
  hostAddress: string
  nodeAddress: string
  /** The link's own addresses, and those of the pods; the host has a route to each. */
  nodeSubnet: string
  podSubnet: string
}

/** Addresses of Services exist inside a cluster only, so all clusters have the same. */
export const serviceSubnet = '10.96.0.0/16'
export const dnsAddress = '10.96.0.10'
export const nodeName = 'node1'

export const mostClusters = 100

export function createNetwork(index: number): Network {
  return {
    index,
    link: `sidecart${index}`,
    hostAddress: `10.80.${index}.254`,
    nodeAddress: `10.80.${index}.1`,
    nodeSubnet: `10.80.${index}.0/24`,
    podSubnet: `10.81.${index}.0/24`,
  }
}

/**
 * Returns the networks that no route of the machine overlaps, the first one first. The default
 * route overlaps with everything and does not count.
 * @param routes destinations as `ip route` prints them: an address, or a subnet as `a.b.c.d/bits`
 */
export function freeNetworks(routes: readonly string[]): Network[] {
  const taken = routes.filter((route) => /^\d+\.\d+\.\d+\.\d+(\/\d+)?$/.test(route) && !route.endsWith('/0'))
  return Array.from({ length: mostClusters }, (_, index) => createNetwork(index)).filter(
    ({ nodeSubnet, podSubnet }) => !taken.some((route) => overlap(route, nodeSubnet) || overlap(route, podSubnet)),
  )
}

/** Whether two subnets have an address in common. */
export function overlap(a: string, b: string): boolean {
  const [first, second] = [parseSubnet(a), parseSubnet(b)]
  const bits = Math.min(first.bits, second.bits)
  const prefix = (value: number) => (bits === 0 ? 0 : value >>> (32 - bits))
  return prefix(first.value) === prefix(second.value)
}

function parseSubnet(text: string): { value: number; bits: number } {
  const [address = '', bits = '32'] = text.split('/')
  const value = address.split('.').reduce((sum, part) => ((sum << 8) | Number(part)) >>> 0, 0)
  return { value, bits: Number(bits) }
}
