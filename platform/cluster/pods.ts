// What pods wait for, and why they fail.
import { poll } from '../poll.ts'
import type { Kubectl } from './kubectl.ts'

type ContainerStatus = {
  name: string
  ready: boolean
  started?: boolean
  restartCount: number
  state: {
    waiting?: { reason: string; message?: string }
    running?: object
    terminated?: { reason: string; exitCode: number }
  }
  lastState?: { terminated?: { reason: string; exitCode: number } }
}

export type Pod = {
  metadata: { name: string; namespace: string; deletionTimestamp?: string; ownerReferences?: { kind: string }[] }
  spec: {
    nodeName?: string
    containers: { name: string }[]
    initContainers?: { name: string; restartPolicy?: string }[]
  }
  status: {
    phase: 'Pending' | 'Running' | 'Succeeded' | 'Failed' | 'Unknown'
    conditions?: { type: string; status: string; reason?: string; message?: string }[]
    containerStatuses?: ContainerStatus[]
    initContainerStatuses?: ContainerStatus[]
  }
}

export function isReady({ status }: Pod): boolean {
  if (status.phase === 'Succeeded') return true
  return status.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') ?? false
}

const statusesOf = ({ status }: Pod) => [...(status.initContainerStatuses ?? []), ...(status.containerStatuses ?? [])]

/** All containers that run beside each other; init containers that end do not count. */
export function readyContainers({ spec, status }: Pod): { ready: number; of: number; restarts: number } {
  const sidecars = new Set(
    (spec.initContainers ?? []).filter(({ restartPolicy }) => restartPolicy === 'Always').map(({ name }) => name),
  )
  const counted = [
    ...(status.containerStatuses ?? []),
    ...(status.initContainerStatuses ?? []).filter(({ name }) => sidecars.has(name)),
  ]
  return {
    ready: counted.filter(({ ready }) => ready).length,
    of: spec.containers.length + sidecars.size,
    restarts: counted.reduce((sum, { restartCount }) => sum + restartCount, 0),
  }
}

/** Says in a few words what a pod that is not ready waits for. */
export function waitsFor(pod: Pod): string {
  const scheduled = pod.status.conditions?.find(({ type }) => type === 'PodScheduled')
  if (scheduled?.status === 'False') return scheduled.message ?? 'no node takes it'
  const containers = statusesOf(pod)
  for (const { name, state, lastState } of containers) {
    const { waiting, terminated } = state
    if (waiting && !['PodInitializing', 'ContainerCreating'].includes(waiting.reason)) {
      const before = lastState?.terminated
      return `${name}: ${waiting.reason}${before ? ` (${before.reason}, code ${before.exitCode})` : ''}`
    }
    if (terminated && terminated.exitCode !== 0) return `${name}: ${terminated.reason}, code ${terminated.exitCode}`
  }
  const next = containers.find(({ state, ready, started }) => !state.terminated && (!ready || started === false))
  return next ? `${next.name} ${next.state.running ? 'to be ready' : 'to start'}` : 'to be scheduled'
}

/** The container that keeps a pod from being ready, by preference one that failed. */
export function guiltyContainer(pod: Pod): string | undefined {
  const containers = statusesOf(pod).filter(({ state, ready }) => !ready && state.terminated?.exitCode !== 0)
  const failed = containers.find(({ restartCount, state }) => restartCount > 0 || state.terminated)
  return (failed ?? containers.find(({ state }) => state.running) ?? containers[0])?.name
}

/** "orders-6d…: daprd to be ready; …", the first few. */
export function describeWaiting(pods: readonly Pod[]): string {
  const waiting = pods.filter((pod) => !isReady(pod))
  const shown = waiting.slice(0, 3).map((pod) => `${pod.metadata.name}: ${waitsFor(pod)}`)
  return `${pods.length - waiting.length} of ${pods.length} ready${shown.length > 0 ? ` (${shown.join('; ')})` : ''}`
}

type Workload = {
  kind: string
  metadata: { name: string; namespace: string; generation: number }
  spec: { replicas?: number; completions?: number }
  status: {
    observedGeneration?: number
    readyReplicas?: number
    updatedReplicas?: number
    replicas?: number
    succeeded?: number
    conditions?: { type: string; status: string; message?: string }[]
  }
}

/** Whether a workload has all of its pods, all of them new, ready and none too many. */
export function isComplete({ kind, metadata, spec, status }: Workload): boolean {
  if (kind === 'Job') return (status.succeeded ?? 0) >= (spec.completions ?? 1)
  const wanted = spec.replicas ?? 1
  return (
    (status.observedGeneration ?? 0) >= metadata.generation &&
    (status.readyReplicas ?? 0) === wanted &&
    (status.updatedReplicas ?? (wanted === 0 ? 0 : undefined)) === wanted &&
    (status.replicas ?? 0) === wanted
  )
}

const hasFailed = ({ status }: Workload) =>
  status.conditions?.some(({ type, status }) => type === 'Failed' && status === 'True') ?? false

/**
 * Waits until every Deployment, StatefulSet and Job of a namespace is complete.
 * @param options.note told what is being waited for
 * @param options.isGone whether the whole cluster has ended, which ends the wait
 * @throws Error with the events and the end of the log of the container that is to blame
 */
export async function waitForWorkloads(
  kubectl: Kubectl,
  namespace: string,
  {
    note = () => {},
    timeoutMs = 300_000,
    isGone = () => false,
  }: { note?: (text: string) => void; timeoutMs?: number; isGone?: () => boolean } = {},
): Promise<void> {
  const get = <T>(kinds: string) => kubectl.json<{ items: T[] }>(['get', kinds, '--namespace', namespace])
  let said = ''
  try {
    await poll(
      `${namespace}: all pods ready`,
      async () => {
        const { items } = await get<Workload | Pod>('deployments,statefulsets,jobs,pods')
        const workloads = items.filter((item): item is Workload => (item as Workload).kind !== 'Pod')
        const pods = items.filter((item): item is Pod => (item as Workload).kind === 'Pod')
        const failed = workloads.find(hasFailed)
        if (failed) throw new FatalError(`${failed.kind} ${failed.metadata.name} failed`)
        const text = describeWaiting(pods)
        if (text !== said) note((said = text))
        return workloads.length > 0 && workloads.every(isComplete)
      },
      { timeoutMs, intervalMs: 250, isFatal: (error) => error instanceof FatalError || isGone() },
    )
  } catch (error) {
    if (isGone()) throw error
    const { items: pods } = await get<Pod>('pods')
    const reasons = await Promise.all(
      pods
        .filter((pod) => !isReady(pod))
        .slice(0, 3)
        .map((pod) => explain(kubectl, pod)),
    )
    throw new Error([(error as Error).message, ...reasons, await newestEvents(kubectl, namespace)].join('\n\n'), {
      cause: error,
    })
  }
}

class FatalError extends Error {}

async function explain(kubectl: Kubectl, pod: Pod): Promise<string> {
  const { name, namespace } = pod.metadata
  const container = guiltyContainer(pod)
  const head = `Pod ${name} waits for ${waitsFor(pod)}`
  if (container === undefined) return head
  const log = (...args: string[]) =>
    kubectl(['logs', name, '--namespace', namespace, '--container', container, '--tail', '20', ...args]).catch(() => '')
  // A container that crashed was started again; its reason is in the log before.
  const text = (await log('--previous')) || (await log())
  return `${head}\n--- the end of ${container}'s log (kubectl logs -n ${namespace} ${name} -c ${container})\n${text}`
}

async function newestEvents(kubectl: Kubectl, namespace: string): Promise<string> {
  const columns = 'custom-columns=TYPE:.type,OBJECT:.involvedObject.name,REASON:.reason,MESSAGE:.message'
  const args = ['get', 'events', '--namespace', namespace, '--sort-by', '.lastTimestamp', '--output', columns]
  const events = (await kubectl(args)).trimEnd().split('\n')
  const [head = '', ...rest] = events
  return ['--- the newest events', head, ...rest.filter((line) => line.startsWith('Warning')).slice(-10)].join('\n')
}
