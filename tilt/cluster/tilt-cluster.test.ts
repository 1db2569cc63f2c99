// `tilt up -- --cluster` takes up edits in running pods, on a copy of this clone.
import { mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import { afterAll, beforeAll, expect, inject, it } from 'vitest'
import { parse, stringify } from 'yaml'
import { attachCluster, updateShop } from '../../platform/cluster/cluster.ts'
import { runKubectl } from '../../platform/cluster/kubectl.ts'
import { inPart } from '../../platform/cluster/parts.ts'
import { createClusterPaths } from '../../platform/cluster/paths.ts'
import { poll } from '../../platform/poll.ts'
import { root } from '../../platform/processes/paths.ts'
import { serviceNames } from '../../platform/processes/services.ts'
import { createProgress } from '../../platform/progress.ts'
import { copyClone, startTilt, untilUp, type RunningTilt } from '../running-tilt.ts'

let copy: string
let env: NodeJS.ProcessEnv
let tilt: RunningTilt

beforeAll(async () => {
  copy = await copyClone('tilt-cluster-test')
  // The copy has the cluster of this clone.
  mkdirSync(join(copy, '.sidecart'))
  symlinkSync(join(root, '.sidecart', 'cluster'), join(copy, '.sidecart', 'cluster'))
  env = { KUBECONFIG: inject('kubeconfig') }
  tilt = await startTilt(copy, { env, args: ['--', '--cluster'] })
  await untilUp(tilt, 600_000)
}, 700_000)

afterAll(async () => {
  await tilt?.interrupt()
  rmSync(copy, { recursive: true, force: true })
  // The other tests have the shop as `npm run cluster -- up` starts it.
  const cluster = attachCluster(createClusterPaths())
  if (cluster) await updateShop(cluster, createProgress())
}, 400_000)

const unknownProduct = async () => {
  const response = await fetch(`${inject('shopApi')}/v1/products/none`)
  return ((await response.json()) as { detail?: string }).detail
}

type Pod = {
  metadata: { name: string; deletionTimestamp?: string }
  status: {
    containerStatuses: { name: string; restartCount: number; containerID: string }[]
    initContainerStatuses: { name: string; restartCount: number; containerID: string }[]
  }
}

/** Returns the containers of a pod: they change when it is replaced or one starts again. */
async function containersOf(service: string): Promise<string[]> {
  const selector = `app.kubernetes.io/name=${service}`
  const { items } = JSON.parse(
    await runKubectl(['get', 'pods', '--namespace', 'shop', '--selector', selector, '--output', 'json']),
  ) as { items: Pod[] }
  return items
    .filter(({ metadata }) => metadata.deletionTimestamp === undefined)
    .flatMap(({ metadata, status }) =>
      [...status.containerStatuses, ...status.initContainerStatuses].map(
        ({ name, restartCount, containerID }) => `${metadata.name} ${name} ${restartCount} ${containerID}`,
      ),
    )
    .toSorted()
}

it('every service is a resource with its label, and the gateway links to the API', async () => {
  const resources = await tilt.resources()
  for (const name of serviceNames)
    expect({ name, ...resources.get(name) }).toMatchObject({ runtime: 'ok', labels: [name] })
})

it('an edit of a service is answered by the pod that runs, without a build', async () => {
  await poll('the API answers', async () => (await unknownProduct()) !== undefined)
  const before = await containersOf('catalog')
  const file = join(copy, 'services/catalog/product-store.ts')
  const times: number[] = []
  for (const words of ['no such product', 'never heard of it', 'what product?']) {
    const started = performance.now()
    const source = readFileSync(file, 'utf8')
    writeFileSync(file, source.replace(/'product_not_found', '[^']*'/, `'product_not_found', '${words}'`))
    await poll('the new answer', async () => (await unknownProduct()) === words, { timeoutMs: 60_000, intervalMs: 20 })
    times.push(performance.now() - started)
  }
  expect(await containersOf('catalog')).toEqual(before)
  expect(Math.min(...times)).toBeLessThan(10_000)
})

it('a cluster that is not local is refused', async () => {
  const config = join(copy, '.sidecart', 'production-kubeconfig')
  const settings = parse(readFileSync(inject('kubeconfig'), 'utf8')) as { contexts: [{ name: string }] }
  settings.contexts[0].name = 'production'
  writeFileSync(config, stringify({ ...settings, 'current-context': 'production' }))
  const PATH = `${process.env['PATH']}${delimiter}${dirname(inPart('kubectl'))}`
  const ci = await startTilt(copy, { command: 'ci', env: { KUBECONFIG: config, PATH }, args: ['--', '--cluster'] })
  expect((await ci.child.ended).code).not.toBe(0)
  expect(ci.output()).toContain('Stop! production might be production.')
})

it('tilt ci places orders and ends with exit code 0', async () => {
  await tilt.interrupt()
  const ci = await startTilt(copy, { command: 'ci', env, args: ['--', '--cluster'] })
  const { code } = await ci.child.ended
  expect(ci.output().slice(-3_000)).toContain('SUCCESS')
  expect(code).toBe(0)
}, 600_000)
