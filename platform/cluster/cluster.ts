// A cluster of one node on this machine, with Dapr's control plane and the shop.
import { existsSync, mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { lock } from '../parts/cache.ts'
import { ensureParts } from '../parts/ensure.ts'
import { poll } from '../poll.ts'
import type { Progress } from '../progress.ts'
import { applyBaseServices, baseImages } from './base-services.ts'
import { applyDapr, daprImages, renderDapr, requireSidecars } from './dapr.ts'
import { importedImages, importImages, withImageIds } from './image-import.ts'
import { ensureImages, imageNames } from './images/images.ts'
import { createKubectl, type Kubectl } from './kubectl.ts'
import { nodeName } from './network.ts'
import { runningNode, startNode, stopNode, type NodeRecord } from './node.ts'
import { ensureClusterParts, inPart } from './parts.ts'
import type { ClusterPaths } from './paths.ts'
import { waitForWorkloads } from './pods.ts'
import { findPrograms } from './requirements.ts'
import { applyServers, applyServices, renderOverlay, shopSecrets } from './shop.ts'

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

export type StartOptions = {
  progress: Progress
  /** Without the shop: its node, DNS, metrics and Dapr. */
  bare?: boolean
}

/**
 * Starts a cluster and waits until all pods are ready. One that runs gets the images and resources
 * as they are now, which replaces the pods of those that changed.
 * @throws Error that says what the machine lacks, or what did not become ready; a cluster that was
 * started by this call is stopped then
 */
export async function startCluster(paths: ClusterPaths, options: StartOptions): Promise<Cluster> {
  mkdirSync(paths.state, { recursive: true, mode: 0o700 })
  const release = await lock(paths.lock, (holder) =>
    console.error(`Process ${holder} is already starting this cluster: waiting …`),
  )
  try {
    const running = attachCluster(paths)
    if (running === undefined) return await startNew(paths, options)
    if (!options.bare) await updateShop(running, options.progress)
    return running
  } finally {
    release()
  }
}

async function startNew(paths: ClusterPaths, { progress, bare = false }: StartOptions): Promise<Cluster> {
  // Says what the machine lacks now: building the parts takes many minutes.
  findPrograms()
  await ensureClusterParts(
    ['kubernetes', 'kubectl', 'etcd', 'coredns', 'metrics-server', 'dapr', 'helm', 'pause'],
    progress,
  )
  const { daprd } = await ensureParts(['daprd'], progress)
  if (daprd.from === 'address') throw new Error('a cluster needs the program daprd')
  // Made while the node starts.
  const systemImages = Promise.all([baseImages(progress), daprImages(daprd, progress)])
  const shopImages = bare ? Promise.resolve([]) : ensureImages(imageNames(), progress)
  const chart = renderDapr(inPart('helm'))
  // Whoever awaits them later sees their errors; until then they are nobody's.
  for (const promise of [systemImages, shopImages, chart]) promise.catch(() => {})

  const node = await startNode(paths)
  const cluster: Cluster = { paths, node, kubectl: kubectlOf(paths), reused: false }
  const { kubectl } = cluster
  const isGone = () => runningNode(paths) === undefined
  const step = <T>(title: string, usualSeconds: number, work: (note: (text: string) => void) => Promise<T>) =>
    progress.step({ title, usualSeconds, log: paths.logs }, work)
  try {
    await Promise.all([
      step('Kubernetes answers', 3, () => untilApiAnswers(kubectl, isGone)),
      step('Images of Kubernetes and Dapr', 1, async (note) =>
        importImages(paths, node, (await systemImages).flat(), note),
      ),
    ])
    const dapr = step('Dapr', 8, async (note) => {
      await applyDapr(kubectl, await chart)
      await waitForWorkloads(kubectl, 'dapr-system', { note, isGone })
      await requireSidecars(kubectl, await chart)
    })
    const others = Promise.all([
      step(`Node ${nodeName} is Ready`, 1, () =>
        kubectl(['wait', `node/${nodeName}`, '--for', 'condition=Ready', '--timeout', '60s']),
      ),
      step('DNS and metrics', 12, async (note) => {
        await applyBaseServices(kubectl, join(paths.state, 'generated'))
        await waitForWorkloads(kubectl, 'kube-system', { note, isGone })
      }),
    ])
    if (bare) {
      await Promise.all([dapr, others])
      return cluster
    }
    const servers = (async () => {
      const images = await shopImages
      await step('Images of the shop', 2, (note) => importImages(paths, node, images, note))
      const resources = withImageIds(await renderOverlay(kubectl, 'test'), importedImages(paths))
      await step("The shop's servers", 15, (note) =>
        applyServers(kubectl, resources, shopSecrets(paths.state), { note, isGone }),
      )
      return resources
    })()
    const [resources] = await Promise.all([servers, dapr])
    const services = step("The shop's services", 10, (note) => applyServices(kubectl, resources, { note, isGone }))
    await Promise.all([services, others])
    return cluster
  } catch (error) {
    await stopNode(paths)
    throw error
  }
}

async function untilApiAnswers(kubectl: Kubectl, isGone: () => boolean): Promise<void> {
  const isReady = async () => (await kubectl(['get', '--raw', '/readyz'])) === 'ok'
  await poll('the API server', isReady, { timeoutMs: 60_000, intervalMs: 100, isFatal: isGone })
  const hasNode = async () => (await kubectl(['get', 'nodes', '--output', 'name'])) !== ''
  await poll('kubelet registers the node', hasNode, { timeoutMs: 60_000, isFatal: isGone })
}

/**
 * Builds images of the shop and replaces the pods that use another version of them.
 * @param only names of images; all by default
 */
export async function updateShop(cluster: Cluster, progress: Progress, only?: readonly string[]): Promise<void> {
  const { paths, node, kubectl } = cluster
  const isGone = () => runningNode(paths) === undefined
  const images = await ensureImages(only ?? imageNames(), progress)
  await progress.step({ title: 'Images of the shop' }, (note) => importImages(paths, node, images, note))
  const resources = withImageIds(await renderOverlay(kubectl, 'test'), importedImages(paths))
  await progress.step({ title: "The shop's servers" }, (note) =>
    applyServers(kubectl, resources, shopSecrets(paths.state), { note, isGone }),
  )
  await progress.step({ title: "The shop's services" }, (note) => applyServices(kubectl, resources, { note, isGone }))
}

/**
 * Stops a cluster.
 * @param options.purge also deletes its images, which makes the next start slower
 * @param options.evenIfStarting when this process itself is starting it
 * @returns whether one ran
 * @throws Error that names what is left of it
 */
export async function stopCluster(
  paths: ClusterPaths,
  { purge = false, evenIfStarting = false }: { purge?: boolean; evenIfStarting?: boolean } = {},
): Promise<boolean> {
  if (!existsSync(paths.state)) return false
  const release = evenIfStarting ? () => {} : await lock(paths.lock)
  try {
    const stopped = await stopNode(paths)
    if (purge) rmSync(paths.images, { recursive: true, force: true })
    return stopped
  } finally {
    release()
  }
}
