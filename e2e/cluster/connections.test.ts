// The NetworkPolicies, held against the connections of a shop that works: each one in use must be
// allowed, and each one allowed must be in use. The cluster of these tests has no engine that
// enforces policies, so this is what shows that they are neither too tight nor too wide.
import { randomUUID } from 'node:crypto'
import { beforeAll, expect, inject, it } from 'vitest'
import { api, login, place, product, shopper, terminal, uncached } from '../shop-client.ts'
import { kubectl, kubectlJson } from './kubectl.ts'
import {
  allowedConnections,
  isIsolated,
  type Labels,
  type NetworkPolicy,
  type Pod,
} from '../../k8s/network-policies.ts'
import { parseSockets } from './sockets.ts'

type End = Pod | 'outside'
type Connection = { from: End; to: End; port: number }

let pods: (Pod & { ip: string })[]
let policies: NetworkPolicy[]
let namespaces: Map<string, Labels>
let used: Connection[]

beforeAll(async () => {
  const who = await shopper()
  const { body } = await place(who, await product(10))
  await terminal(who, body.id)
  await api('/v1/categories', { headers: uncached })
  await api('/v1/password-resets', { body: { email: inject('shopperEmail') } })
  // A list, which search answers.
  await api('/v1/products?limit=1', { headers: uncached })
  const token = await login(inject('adminEmail'), inject('adminPassword'))
  const headers = { 'idempotency-key': randomUUID() }
  // Asks for a trace: of a busy shop's requests few have one, and users has a part in few of those.
  const traceparent = `00-${randomUUID().replaceAll('-', '')}-00f067aa0ba902b7-01`
  await api('/v1/users/me', { token, headers: { traceparent } })
  const refunded = await api(`/v1/orders/${body.id}/refunds`, { token, headers, body: {} })
  if (refunded.status !== 201) throw new Error(`could not refund: ${refunded.status} ${JSON.stringify(refunded.body)}`)

  const all = await Promise.all([
    kubectlJson(['get', 'pods', '--all-namespaces', '--field-selector=status.phase=Running']),
    kubectlJson(['get', 'networkpolicies']),
    kubectlJson(['get', 'namespaces']),
  ])
  pods = all[0].items.map(({ metadata, status }) => ({ ...metadata, ip: status.podIP }))
  policies = all[1].items
  namespaces = new Map(all[2].items.map(({ metadata }) => [metadata.name, metadata.labels]))
  used = await connectionsInUse()
}, 180_000)

const name = (end: End) =>
  end === 'outside'
    ? end
    : (end.labels['app'] ?? end.labels['app.kubernetes.io/name'] ?? end.labels['k8s-app'] ?? end.name)

const text = ({ from, to, port }: Connection) => `${name(from)} -> ${name(to)}:${port}`
const same = (a: Connection) => (b: Connection) => text(a) === text(b)

it('each connection in use is allowed by both of its ends', () => {
  expect(used.length).toBeGreaterThan(20)
  const { egress, ingress } = allowedConnections(policies, pods, namespaces)
  const denied = used.filter(
    (connection) =>
      (connection.from !== 'outside' &&
        isIsolated(policies, connection.from, 'Egress') &&
        !egress.some(same(connection))) ||
      // A node may always reach its own pods, for the probes.
      (connection.from !== 'outside' &&
        connection.to !== 'outside' &&
        isIsolated(policies, connection.to, 'Ingress') &&
        !ingress.some(same(connection))),
  )
  expect([...new Set(denied.map(text))]).toEqual([])
})

/**
 * Used too seldom to be found open: names are resolved by UDP unless an answer is too long, and a
 * sidecar's certificate is for a day.
 */
const isSeldom = ({ to, port }: Connection) => ['kube-dns:53', 'dapr-sentry:50001'].includes(`${name(to)}:${port}`)

it('each connection that a policy allows is in use', async () => {
  const { egress, ingress } = allowedConnections(policies, pods, namespaces)
  const all = [...egress, ...ingress].filter((allowed) => !isSeldom(allowed) && allowed.from !== 'outside')
  const unused = () => all.filter((allowed) => !used.some(same(allowed)))
  // Spans are sent some seconds later.
  for (const giveUpAt = Date.now() + 15_000; unused().length > 0 && Date.now() < giveUpAt;)
    used.push(...(await connectionsInUse()))
  expect([...new Set(unused().map((allowed) => `${text(allowed)} (${allowed.policy})`))]).toEqual([])
})

/** Reads the sockets of every pod of the shop. One end is enough to know a connection. */
async function connectionsInUse(): Promise<Connection[]> {
  const byIp = new Map(pods.map((pod) => [pod.ip, pod]))
  const services = await serviceTargets()
  const own = pods.filter(({ namespace }) => namespace === 'shop')
  const found = await Promise.all(
    own.map(async (pod): Promise<Connection[]> => {
      const sockets = parseSockets(await kubectl(['exec', pod.name, '--', 'cat', '/proc/net/tcp', '/proc/net/tcp6']))
      const listening = new Set(sockets.filter(({ state }) => state === 'listening').map(({ local }) => local.port))
      return sockets
        .filter(({ state, remote }) => state === 'established' && !remote.ip.startsWith('127.') && remote.ip !== pod.ip)
        .map(({ local, remote }): Connection => {
          if (listening.has(local.port)) return { from: byIp.get(remote.ip) ?? 'outside', to: pod, port: local.port }
          const service = services.get(`${remote.ip}:${remote.port}`)
          if (service !== undefined) return { from: pod, ...service }
          return { from: pod, to: byIp.get(remote.ip) ?? 'outside', port: remote.port }
        })
    }),
  )
  return found.flat()
}

/** Returns the pod and the port behind each address of a Service: `10.82.0.10:53`. */
async function serviceTargets(): Promise<Map<string, { to: Pod; port: number }>> {
  const targets = new Map<string, { to: Pod; port: number }>()
  const [services, slices] = await Promise.all([
    kubectlJson(['get', 'services', '--all-namespaces']),
    kubectlJson(['get', 'endpointslices', '--all-namespaces']),
  ])
  for (const { metadata, spec } of services.items) {
    const own = slices.items.filter(
      (slice) =>
        slice.metadata.namespace === metadata.namespace &&
        slice.metadata.labels['kubernetes.io/service-name'] === metadata.name,
    )
    for (const { name: portName, port } of spec.ports as { name?: string; port: number }[]) {
      for (const { endpoints, ports } of own) {
        const to = pods.find(({ ip }) => endpoints?.[0]?.addresses.includes(ip))
        const target = ports?.find((each: { name?: string }) => (each.name ?? '') === (portName ?? ''))
        if (to && target) targets.set(`${spec.clusterIP}:${port}`, { to, port: target.port })
      }
    }
  }
  return targets
}
