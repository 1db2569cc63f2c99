// Every overlay, and every overlay with each component that it leaves out, is accepted by a real
// API server that knows all kinds. What cannot run here, such as what needs AWS, is proven no
// further.
import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parseAllDocuments } from 'yaml'
import { listBuilds, renderBuild } from '../../k8s/lint/builds.ts'
import { applyCrds } from '../../platform/cluster/crds.ts'
import { createKubectl } from '../../platform/cluster/kubectl.ts'
import { ensureClusterParts, inPart } from '../../platform/cluster/parts.ts'
import { root } from '../../platform/processes/paths.ts'
import { createProgress } from '../../platform/progress.ts'

const k8s = join(root, 'k8s')
const work = join(root, '.sidecart', 'overlays-test')
const progress = createProgress()
const kubectl = createKubectl([inPart('kubectl'), '--kubeconfig', process.env['KUBECONFIG'] ?? ''])

beforeAll(async () => {
  await ensureClusterParts(['kustomize'], progress)
  await applyCrds(kubectl, progress)
  // A dry run creates no namespace, and what is in one needs it.
  await kubectl.apply(readFileSync(join(k8s, 'base', 'namespace.yaml'), 'utf8'))
  mkdirSync(work, { recursive: true })
}, 300_000)

afterAll(() => progress.close())

describe('the API server accepts', () => {
  const builds = listBuilds(k8s)

  it('overlays at all', () => {
    expect(builds.filter(({ components }) => components.length === 0).map(({ name }) => name)).toContain('production')
    expect(builds.length).toBeGreaterThan(20)
  })

  it.each(builds.map((build) => [build.name, build] as const))('%s', async (_, build) => {
    const yaml = await renderBuild(inPart('kustomize'), k8s, work, build)
    const items = parseAllDocuments(yaml)
      .map((document) => document.toJS() as { kind: string; metadata: { name: string } })
      // As new ones: the shop that runs has these, and what they consist of cannot be changed.
      .map((item) =>
        ['Job', 'StatefulSet'].includes(item.kind)
          ? { ...item, metadata: { ...item.metadata, name: `${item.metadata.name}-dry` } }
          : item,
      )
    const list = JSON.stringify({ apiVersion: 'v1', kind: 'List', items })
    const printed = await kubectl.apply(list, '--dry-run=server')
    expect(printed.match(/ serverside-applied \(server dry run\)$/gm)).toHaveLength(items.length)
  })
})
