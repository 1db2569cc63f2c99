// A fifth of the requests for a canary of the gateway, and back: no shopper notices.
import { afterAll, beforeAll, expect, it } from 'vitest'
import { attachCluster } from '../../platform/cluster/cluster.ts'
import { importedImages, withImageIds } from '../../platform/cluster/image-import.ts'
import { createClusterPaths } from '../../platform/cluster/paths.ts'
import { listOf, splitByDapr, type Resource } from '../../platform/cluster/resources.ts'
import { renderOverlay } from '../../platform/cluster/shop.ts'
import { poll } from '../../platform/poll.ts'
import { api, product } from '../shop-client.ts'
import { deleteCanary, kubectl, kubectlJson } from './kubectl.ts'
import { outcomes, startShoppers } from './shoppers.ts'

const cluster = attachCluster(createClusterPaths())!

/** Applies an overlay but its Job and its servers, which run, and waits for the edge's roll-out. */
async function applyOverlay(name: string): Promise<void> {
  const isOurs = ({ metadata }: Resource) => /^(edge|gateway)/.test(metadata.name)
  const all = withImageIds(await renderOverlay(cluster.kubectl, name), importedImages(cluster.paths)).filter(isOurs)
  const { first, rest } = splitByDapr(all)
  // The canary first: the edge is not to name who is not there.
  await cluster.kubectl.apply(listOf(rest))
  if (name === 'test-canary')
    await kubectl(['wait', '--for=jsonpath={.status.readyReplicas}=1', 'replicaset/gateway-canary', '--timeout=180s'])
  await cluster.kubectl.apply(listOf(first))
  await kubectl(['rollout', 'status', 'deployment/edge', '--timeout=180s'])
  // Connections that are kept stay with the old pod until it ends.
  const hasEnded = async () =>
    (await kubectlJson(['get', 'pods', '-l', 'app.kubernetes.io/name=edge'])).items.length === 1
  await poll('the old pod of the edge has ended', hasEnded, { timeoutMs: 60_000 })
}

let sku: string
beforeAll(async () => {
  sku = await product(100_000)
})
afterAll(async () => {
  await applyOverlay('test')
  await deleteCanary()
}, 180_000)

it('a canary gets a fifth of the requests, and no request fails when it comes or goes', async () => {
  const { report, stop } = await startShoppers(2, sku)
  let share: number
  try {
    await applyOverlay('test-canary')
    const marks = Array.from({ length: 200 }, (_, i) => `canary-test-${i}`)
    // Refused, since the gateway has no line about a request that succeeds.
    for (const id of marks) await api(`/v1/products/unknown-${id}`, { headers: { 'x-request-id': id } })
    const pods = (await kubectlJson(['get', 'pods', '--selector=sidecart/track=canary'])).items
    const logs = await Promise.all(
      pods.map(({ metadata }) => kubectl(['logs', metadata.name, '--container=gateway', '--since=5m', '--tail=-1'])),
    )
    share = marks.filter((id) => logs.some((log) => log.includes(`"${id}"`))).length / marks.length
    await applyOverlay('test')
  } finally {
    await stop()
  }
  // 200 draws with a chance of 0.2 are outside of this once in 100,000 times.
  expect(share).toBeGreaterThan(0.08)
  expect(share).toBeLessThan(0.33)
  expect(report.failures).toEqual([])
  expect((await outcomes(report)).filter(({ status }) => status !== 'CONFIRMED')).toEqual([])
}, 480_000)
