// Starts a cluster of one node with Dapr's control plane.
import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { lock } from '../parts/cache.ts'
import { ensureParts } from '../parts/ensure.ts'
import { poll } from '../poll.ts'
import type { Progress } from '../progress.ts'
import { applyBaseServices, baseImages } from './base-services.ts'
import { applyDapr, daprImages, renderDapr } from './dapr.ts'
import { importImages } from './image-import.ts'
import { createKubectl, type Kubectl } from './kubectl.ts'
import { nodeName } from './network.ts'
import { runningNode, startNode, stopNode, type NodeRecord } from './node.ts'
import { ensureClusterParts, inPart } from './parts.ts'
import type { ClusterPaths } from './paths.ts'
import { waitForWorkloads } from './pods.ts'

export type Cluster = {
  paths: ClusterPaths
  node: NodeRecord
  kubectl: Kubectl
  /** Whether it already ran. */
  reused: boolean
}

/** Returns a cluster that runs, undefined when it does not. */
export function attachCluster(paths: ClusterPaths): Cluster | undefined {
  const node = runningNode(paths)
  return node && { paths, node, kubectl: kubectlOf(paths), reused: true }
}

function kubectlOf({ kubeconfig }: ClusterPaths): Kubectl {
  return createKubectl([inPart('kubectl'), '--kubeconfig', kubeconfig])
}

/**
 * Starts a cluster, or returns the one that runs: its node is Ready, and so are DNS, metrics-server
 * and Dapr's control plane.
 * @throws Error that says what the machine lacks, or what did not become ready; it is stopped then
 */
export async function startCluster(paths: ClusterPaths, progress: Progress): Promise<Cluster> {
  mkdirSync(paths.state, { recursive: true, mode: 0o700 })
  const release = await lock(paths.lock, (holder) =>
    console.error(`Process ${holder} is already starting this cluster: waiting …`),
  )
  try {
    return attachCluster(paths) ?? (await startNew(paths, progress))
  } finally {
    release()
  }
}

async function startNew(paths: ClusterPaths, progress: Progress): Promise<Cluster> {
  await ensureClusterParts(
    ['kubernetes', 'kubectl', 'etcd', 'coredns', 'metrics-server', 'dapr', 'helm', 'pause'],
    progress,
  )
  const { daprd } = await ensureParts(['daprd'], progress)
  if (daprd.from === 'address') throw new Error('a cluster needs the program daprd')
  const images = Promise.all([baseImages(), daprImages(daprd)])
  const chart = renderDapr(inPart('helm'))
  // Whoever awaits them later sees their errors; until then they are nobody's.
  for (const promise of [images, chart]) promise.catch(() => {})

  const node = await startNode(paths)
  const kubectl = kubectlOf(paths)
  const isGone = () => runningNode(paths) === undefined
  try {
    const answers = progress.step({ title: 'Kubernetes answers', usualSeconds: 3, log: paths.logs }, () =>
      untilApiAnswers(kubectl, paths),
    )
    const imported = progress.step({ title: 'Images' }, async (note) => {
      const all = (await images).flat()
      let done = 0
      await importImages(paths, node, all, (name) => note(`${(done += 1)} of ${all.length}: ${name}`))
    })
    await Promise.all([answers, imported])
    const ready = progress.step({ title: `Node ${nodeName} is Ready`, log: paths.logs }, () =>
      kubectl(['wait', `node/${nodeName}`, '--for', 'condition=Ready', '--timeout', '60s']),
    )
    await Promise.all([
      ready,
      progress.step({ title: 'DNS and metrics' }, async (note) => {
        await applyBaseServices(kubectl, join(paths.state, 'generated'))
        await waitForWorkloads(kubectl, 'kube-system', { note, isGone })
      }),
      progress.step({ title: 'Dapr', usualSeconds: 8 }, async (note) => {
        await applyDapr(kubectl, await chart)
        await waitForWorkloads(kubectl, 'dapr-system', { note, isGone })
      }),
    ])
    return { paths, node, kubectl, reused: false }
  } catch (error) {
    await stopNode(paths)
    throw error
  }
}

async function untilApiAnswers(kubectl: Kubectl, paths: ClusterPaths): Promise<void> {
  const isReady = async () => (await kubectl(['get', '--raw', '/readyz'])) === 'ok'
  await poll('the API server', isReady, { timeoutMs: 60_000, intervalMs: 100, isFatal: () => !runningNode(paths) })
  const hasNode = async () => (await kubectl(['get', 'nodes', '--output', 'name'])) !== ''
  await poll('kubelet registers the node', hasNode, { timeoutMs: 60_000, isFatal: () => !runningNode(paths) })
}

/** Stops a cluster. @returns whether one ran @throws Error that names what is left of it */
export async function stopCluster(paths: ClusterPaths): Promise<boolean> {
  if (!existsSync(paths.state)) return false
  const release = await lock(paths.lock)
  try {
    return await stopNode(paths)
  } finally {
    release()
  }
}
