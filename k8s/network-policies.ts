// Which connections a set of NetworkPolicies allows between pods that exist:
// https://kubernetes.io/docs/concepts/services-networking/network-policies/

export type Labels = Record<string, string>
export type Pod = { name: string; namespace: string; labels: Labels }

type Selector = {
  matchLabels?: Labels
  matchExpressions?: { key: string; operator: string; values?: string[] }[]
}
type Peer = { podSelector?: Selector; namespaceSelector?: Selector; ipBlock?: unknown }
type Rule = { from?: Peer[]; to?: Peer[]; ports?: { protocol?: string; port?: number }[] }
export type NetworkPolicy = {
  metadata: { name: string; namespace: string }
  spec: { podSelector: Selector; policyTypes: string[]; ingress?: Rule[]; egress?: Rule[] }
}

export type Allowed = { from: Pod | 'outside'; to: Pod | 'outside'; port: number; policy: string }

/**
 * Returns what each policy allows on its own, over TCP: `egress` by those of the sender, `ingress`
 * by those of the receiver. A connection needs both where both ends have policies.
 */
export function allowedConnections(
  policies: NetworkPolicy[],
  pods: Pod[],
  namespaces: Map<string, Labels>,
): { egress: Allowed[]; ingress: Allowed[] } {
  const peersOf = (policy: NetworkPolicy, peers: Peer[] | undefined): (Pod | 'outside')[] => {
    if (peers === undefined) return ['outside', ...pods]
    return peers.flatMap((peer): (Pod | 'outside')[] => {
      if (peer.ipBlock !== undefined) return ['outside']
      return pods.filter(
        (pod) =>
          (peer.namespaceSelector === undefined
            ? pod.namespace === policy.metadata.namespace
            : matches(peer.namespaceSelector, namespaces.get(pod.namespace) ?? {})) &&
          matches(peer.podSelector ?? {}, pod.labels),
      )
    })
  }
  const rules = (direction: 'ingress' | 'egress') =>
    policies.flatMap((policy) => {
      const owners = pods.filter(
        ({ namespace, labels }) => namespace === policy.metadata.namespace && matches(policy.spec.podSelector, labels),
      )
      return (policy.spec[direction] ?? []).flatMap((rule) =>
        (rule.ports ?? [])
          .filter(({ protocol = 'TCP', port }) => protocol === 'TCP' && port !== undefined)
          .flatMap(({ port }) =>
            peersOf(policy, direction === 'ingress' ? rule.from : rule.to).flatMap((peer) =>
              owners.map((owner): Allowed => {
                const ends = direction === 'ingress' ? { from: peer, to: owner } : { from: owner, to: peer }
                return { ...ends, port: port!, policy: policy.metadata.name }
              }),
            ),
          ),
      )
    })
  return { egress: rules('egress'), ingress: rules('ingress') }
}

/** Returns whether policies apply to a pod in a direction; without any, everything is allowed. */
export function isIsolated(policies: NetworkPolicy[], pod: Pod, direction: 'Ingress' | 'Egress'): boolean {
  return policies.some(
    ({ metadata, spec }) =>
      metadata.namespace === pod.namespace &&
      spec.policyTypes.includes(direction) &&
      matches(spec.podSelector, pod.labels),
  )
}

/** @throws Error for an operator that is not known, rather than to allow or deny by mistake */
function matches({ matchLabels = {}, matchExpressions = [] }: Selector, labels: Labels): boolean {
  return (
    Object.entries(matchLabels).every(([key, value]) => labels[key] === value) &&
    matchExpressions.every(({ key, operator, values = [] }) => {
      const value = labels[key]
      if (operator === 'In') return value !== undefined && values.includes(value)
      if (operator === 'NotIn') return value === undefined || !values.includes(value)
      if (operator === 'Exists') return value !== undefined
      if (operator === 'DoesNotExist') return value === undefined
      throw new Error(`unknown operator ${operator}`)
    })
  )
}
