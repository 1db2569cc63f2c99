// Dapr's control plane, from its own Helm chart.
import { execFile } from 'node:child_process'
import { globSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { promisify } from 'node:util'
import type { Found } from '../parts/find.ts'
import { daprVersion } from '../parts/parts.ts'
import { root } from '../processes/paths.ts'
import type { Progress } from '../progress.ts'
import type { ImageArchive } from './images/archive.ts'
import type { Kubectl } from './kubectl.ts'
import { inPart } from './parts.ts'
import { ensureProgramImage } from './program-images.ts'
import { listOf, parseResources, type Resource } from './resources.ts'

const namespace = 'dapr-system'

/** Makes Dapr's images as its chart names them, with our builds in them. */
export function daprImages(
  daprd: Exclude<Found, { from: 'nowhere' | 'address' }>,
  progress: Progress,
): Promise<ImageArchive[]> {
  const programs = ['sentry', 'operator', 'injector', 'placement'].map((name) => inPart('dapr', name))
  return Promise.all(
    [daprd.path, ...programs].map((program) =>
      ensureProgramImage({ name: `ghcr.io/dapr/${basename(program)}:${daprVersion}`, program }, progress),
    ),
  )
}

/** A chart's resources in the order that its programs need. */
export type DaprChart = { configuration: Resource[]; programs: Resource[]; webhooks: Resource[] }

/** Renders the chart with k8s/dapr/values-test.yaml. */
export async function renderDapr(helm: string): Promise<DaprChart> {
  const values = join(root, 'k8s', 'dapr', 'values-test.yaml')
  const args = ['template', 'dapr', inPart('dapr', 'chart'), '--namespace', namespace, '--values', values]
  return inOrder((await promisify(execFile)(helm, args, { maxBuffer: 1 << 26 })).stdout)
}

/**
 * Sorts a chart. Without their Configuration sentry and operator end, and Kubernetes starts them
 * again later and later: 39 s instead of 6.
 */
export function inOrder(chart: string): DaprChart {
  const resources = parseResources(chart)
  const isConfiguration = ({ kind }: Resource) => kind === 'Configuration'
  const isWebhook = ({ kind }: Resource) => kind === 'MutatingWebhookConfiguration'
  return {
    configuration: resources.filter(isConfiguration),
    programs: resources.filter((resource) => !isConfiguration(resource) && !isWebhook(resource)),
    webhooks: resources.filter(isWebhook),
  }
}

/**
 * Applies Dapr's CRDs, its Configuration and its programs; does not wait for the pods. Until
 * `requireSidecars` pods are made without asking the injector, if it does not run yet: servers can
 * start meanwhile.
 */
export async function applyDapr(kubectl: Kubectl, { configuration, programs, webhooks }: DaprChart): Promise<void> {
  const crds = globSync('*.yaml', { cwd: inPart('dapr', 'chart/crds') }).flatMap((file) =>
    parseResources(readFileSync(join(inPart('dapr', 'chart/crds'), file), 'utf8')),
  )
  const systemNamespace = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } }
  await kubectl.apply(listOf([...crds, systemNamespace]))
  await kubectl(['wait', '--for', 'condition=Established', 'crd/configurations.dapr.io', '--timeout', '30s'])
  await kubectl.apply(listOf(configuration))
  // The injector ends when its webhook is not there to be given a certificate.
  await kubectl.apply(listOf([...webhooks.map(optional), ...programs]))
}

function optional(webhook: Resource): Resource {
  const webhooks = (webhook as Resource & { webhooks: object[] }).webhooks
  return { ...webhook, webhooks: webhooks.map((each) => ({ ...each, failurePolicy: 'Ignore' })) } as Resource
}

/** From now on no pod is made without the injector. To be called when it is ready. */
export async function requireSidecars(kubectl: Kubectl, { webhooks }: DaprChart): Promise<void> {
  await kubectl.apply(listOf(webhooks))
}
