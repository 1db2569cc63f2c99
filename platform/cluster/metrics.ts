// Memory by pod, from metrics-server.
import type { Kubectl } from './kubectl.ts'

type PodMetrics = {
  items: { metadata: { name: string; namespace: string }; containers: { usage: { memory: string } }[] }[]
}

/** Returns bytes by `namespace/pod`; empty until metrics-server has the first figures. */
export async function podMemory(kubectl: Kubectl): Promise<Map<string, number>> {
  const text = await kubectl(['get', '--raw', '/apis/metrics.k8s.io/v1beta1/pods']).catch(() => '{"items":[]}')
  const { items } = JSON.parse(text) as PodMetrics
  return new Map(
    items.map(({ metadata, containers }) => [
      `${metadata.namespace}/${metadata.name}`,
      containers.reduce((sum, { usage }) => sum + parseQuantity(usage.memory), 0),
    ]),
  )
}

const factors: Record<string, number> = { '': 1, k: 1e3, Ki: 1024, M: 1e6, Mi: 1024 ** 2, G: 1e9, Gi: 1024 ** 3 }

/** Returns a quantity of Kubernetes, such as `12Mi`, in bytes. */
export function parseQuantity(text: string): number {
  const [, number = '0', unit = ''] = /^(\d+)(\w*)$/.exec(text) ?? []
  const factor = factors[unit]
  if (factor === undefined) throw new Error(`unknown unit in ${text}`)
  return Number(number) * factor
}
