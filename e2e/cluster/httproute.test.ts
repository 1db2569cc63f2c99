// A canary by the weights of the HTTPRoute, with the commands of docs/releasing.md, behind a real
// implementation of the Gateway API.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, inject, it } from 'vitest'
import { attachCluster } from '../../platform/cluster/cluster.ts'
import { applyCrds } from '../../platform/cluster/crds.ts'
import { importedImages, importImages, withImageIds } from '../../platform/cluster/image-import.ts'
import { ensureClusterParts, inPart } from '../../platform/cluster/parts.ts'
import { createClusterPaths } from '../../platform/cluster/paths.ts'
import { ensureProgramImage } from '../../platform/cluster/program-images.ts'
import { listOf, parseResources, type Resource } from '../../platform/cluster/resources.ts'
import { renderOverlay } from '../../platform/cluster/shop.ts'
import { poll } from '../../platform/poll.ts'
import { root } from '../../platform/processes/paths.ts'
import { createProgress } from '../../platform/progress.ts'
import { product } from '../shop-client.ts'
import { deleteCanary, kubectl, kubectlJson } from './kubectl.ts'

const cluster = attachCluster(createClusterPaths())!
const gatewayUrl = `http://${inject('nodeAddress')}:30081`
const manifest = readFileSync(join(root, 'platform', 'cluster', 'manifests', 'traefik.yaml'), 'utf8')

const isCanary = ({ kind, metadata }: Resource) =>
  kind === 'ConfigMap' || metadata.labels?.['sidecart/track'] === 'canary'
let overlay: Resource[]

beforeAll(async () => {
  const progress = createProgress()
  await ensureClusterParts(['traefik'], progress)
  const name = 'docker.io/library/traefik:latest'
  const image = await ensureProgramImage({ name, program: inPart('traefik') }, progress)
  await Promise.all([importImages(cluster.paths, cluster.node, [image]), applyCrds(cluster.kubectl, progress)])
  progress.close()
  const withIds = (resources: Resource[]) => withImageIds(resources, importedImages(cluster.paths))
  await cluster.kubectl.apply(listOf(withIds(parseResources(manifest))))
  await kubectl(['rollout', 'status', 'deployment/traefik', '--namespace', 'traefik', '--timeout=60s'])

  overlay = withIds(await renderOverlay(cluster.kubectl, 'test-canary-httproute'))
  const [gateway, route] = ['Gateway', 'HTTPRoute'].map((kind) => overlay.find((each) => each.kind === kind)!)
  // The shop as it is without a canary: all requests for the edge.
  await cluster.kubectl.apply(listOf([gateway!, { ...route!, spec: { ...route!.spec, rules: onlyTheEdge } }]))
  await kubectl(['wait', 'gateway/edge', '--for=condition=Programmed', '--timeout=60s'])
  await product(1)
  await poll('the Gateway passes requests on', async () => (await list('first')) === 200)
}, 1_200_000)

const onlyTheEdge = [{ backendRefs: [{ name: 'edge', port: 80 }] }]

afterAll(async () => {
  await deleteCanary()
  await kubectl(['delete', 'httproute/edge', 'gateway/edge', '--ignore-not-found'])
  await cluster.kubectl(['delete', '--filename', '-', '--ignore-not-found'], manifest)
}, 180_000)

/** Sends a GET by the Gateway and returns the status. */
async function get(path: string, requestId: string): Promise<number> {
  const response = await fetch(`${gatewayUrl}${path}`, { headers: { 'x-request-id': requestId } })
  await response.text()
  return response.status
}
const list = (requestId: string) => get('/v1/products?limit=1', requestId)

/**
 * Sends requests and returns how many of them the canary's log has. They are refused, since the
 * gateway has no line about one that succeeds.
 */
async function canaryRequests(name: string, of: number): Promise<number> {
  const marks = Array.from({ length: of }, (_, i) => `${name}-${i}`)
  for (const id of marks) await get(`/v1/products/unknown-${id}`, id)
  const pods = (await kubectlJson(['get', 'pods', '--selector=app.kubernetes.io/name=gateway-canary'])).items
  const read = ['--container=gateway', '--since=5m', '--tail=-1']
  const logs = await Promise.all(pods.map(({ metadata }) => kubectl(['logs', metadata.name, ...read])))
  return marks.filter((id) => logs.some((log) => log.includes(`"${id}"`))).length
}

const patchRoute = (...patch: object[]) =>
  kubectl(['patch', 'httproute', 'edge', '--type', 'json', '--patch', JSON.stringify(patch)])

it('the weights of the HTTPRoute are the shares of the requests, and changing them fails none', async () => {
  const failures: string[] = []
  let [done, sent] = [false, 0]
  const readers = Promise.all(
    ['a', 'b'].map(async (reader) => {
      for (; !done; sent += 1) {
        const status = await list(`${reader}-${sent}`).catch(String)
        if (status !== 200) failures.push(`${new Date().toISOString()} ${status}`)
      }
    }),
  )
  try {
    await cluster.kubectl.apply(listOf(overlay.filter(isCanary)))
    await kubectl(['wait', '--timeout=3m', '--for=jsonpath={.status.readyReplicas}=2', 'replicaset/gateway-canary'])
    await kubectl(['rollout', 'status', 'deployment/edge-canary', '--timeout=60s'])
    expect(await canaryRequests('none-yet', 20)).toBe(0)

    await cluster.kubectl.apply(listOf(overlay.filter(({ kind }) => kind === 'HTTPRoute')))
    await poll('the canary has requests', async () => (await canaryRequests('come', 20)) > 0)
    const fifth = await canaryRequests('fifth', 200)
    process.stdout.write(`weights 80 and 20: ${fifth} of 200 requests for the canary\n`)
    expect(fifth / 200).toBeCloseTo(0.2, 1)

    await patchRoute(
      { op: 'replace', path: '/spec/rules/0/backendRefs/0/weight', value: 50 },
      { op: 'replace', path: '/spec/rules/0/backendRefs/1/weight', value: 50 },
    )
    await poll('the canary has more requests', async () => (await canaryRequests('more', 20)) > 6)
    const half = await canaryRequests('half', 200)
    process.stdout.write(`weights 50 and 50: ${half} of 200 requests for the canary\n`)
    expect(half / 200).toBeCloseTo(0.5, 1)

    await patchRoute({ op: 'replace', path: '/spec/rules/0/backendRefs', value: [{ name: 'edge', port: 80 }] })
    await deleteCanary()
    expect(await canaryRequests('gone', 20)).toBe(0)
  } finally {
    done = true
    await readers
  }
  process.stdout.write(`${sent} requests meanwhile, ${failures.length} failed\n`)
  expect(failures).toEqual([])
}, 480_000)
