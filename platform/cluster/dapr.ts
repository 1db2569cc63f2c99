// Dapr's control plane, from its own Helm chart.
import { execFile } from 'node:child_process'
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { isMap, parseAllDocuments } from 'yaml'
import type { Found } from '../parts/find.ts'
import { daprVersion } from '../parts/parts.ts'
import { root } from '../processes/paths.ts'
import type { Kubectl } from './kubectl.ts'
import { inPart } from './parts.ts'
import { ensureProgramImage, type ImageArchive } from './program-images.ts'

const namespace = 'dapr-system'

/** Returns Dapr's images as its chart names them, with our builds in them. */
export function daprImages(daprd: Exclude<Found, { from: 'nowhere' | 'address' }>): Promise<ImageArchive[]> {
  const image = (name: string) => `ghcr.io/dapr/${name}:${daprVersion}`
  return Promise.all([
    ensureProgramImage(image('daprd'), daprd.path),
    ...['sentry', 'operator', 'injector', 'placement'].map((name) =>
      ensureProgramImage(image(name), inPart('dapr', name)),
    ),
  ])
}

/** Renders the chart with k8s/dapr/values-test.yaml. */
export async function renderDapr(helm: string): Promise<string> {
  const values = join(root, 'k8s', 'dapr', 'values-test.yaml')
  const args = ['template', 'dapr', inPart('dapr', 'chart'), '--namespace', namespace, '--values', values]
  return (await promisify(execFile)(helm, args, { maxBuffer: 1 << 26 })).stdout
}

/** Returns a chart's resources in the order that its programs need: their Configuration first. */
export function inOrder(chart: string): { first: string; rest: string } {
  const documents = parseAllDocuments(chart).filter((document) => isMap(document.contents))
  const isConfiguration = (document: (typeof documents)[number]) => document.get('kind') === 'Configuration'
  const text = (some: typeof documents) => some.map((document) => String(document)).join('---\n')
  return {
    first: text(documents.filter(isConfiguration)),
    rest: text(documents.filter((document) => !isConfiguration(document))),
  }
}

/**
 * Applies Dapr's CRDs, then its Configuration, then its control plane; does not wait for the pods.
 * Without their Configuration sentry and operator end, and Kubernetes starts them again later and
 * later: 39 s instead of 6.
 */
export async function applyDapr(kubectl: Kubectl, chart: string): Promise<void> {
  const crds = globSync('*.yaml', { cwd: inPart('dapr', 'chart/crds') })
    .map((file) => readFileSync(join(inPart('dapr', 'chart/crds'), file), 'utf8'))
    .join('\n---\n')
  await Promise.all([
    kubectl.apply(crds),
    kubectl.apply(JSON.stringify({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } })),
  ])
  await kubectl(['wait', '--for', 'condition=Established', 'crd/configurations.dapr.io', '--timeout', '30s'])
  const { first, rest } = inOrder(chart)
  await kubectl.apply(first)
  await kubectl.apply(rest)
}
