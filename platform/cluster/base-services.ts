// What every cluster of our own has: DNS, and figures of CPU and memory (`kubectl top`,
// autoscaling).
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { stringify } from 'yaml'
import type { Progress } from '../progress.ts'
import type { ImageArchive } from './images/archive.ts'
import type { Kubectl } from './kubectl.ts'
import { pauseImage } from './node-files.ts'
import { clusterParts, inPart } from './parts.ts'
import { ensureProgramImage } from './program-images.ts'
import { listOf } from './resources.ts'
import { volumeResources } from './volumes.ts'

const metricsServerImage = `registry.k8s.io/metrics-server/metrics-server:v${versionOf('metrics-server')}`

function versionOf(name: 'coredns' | 'metrics-server'): string {
  return clusterParts[name].cacheKey.slice(name.length + 1)
}

/** Makes the images of the node itself, of parts that must be there. */
export function baseImages(progress: Progress): Promise<ImageArchive[]> {
  return Promise.all(
    [
      { name: pauseImage, program: inPart('pause'), user: '65535' },
      { name: `registry.k8s.io/coredns/coredns:v${versionOf('coredns')}`, program: inPart('coredns') },
      { name: metricsServerImage, program: inPart('metrics-server') },
    ].map((image) => ensureProgramImage(image, progress)),
  )
}

/** Applies DNS, metrics-server and volumes; does not wait for them. */
export async function applyBaseServices(kubectl: Kubectl, generated: string): Promise<void> {
  await Promise.all([
    kubectl.apply(readFileSync(join(import.meta.dirname, 'manifests', 'coredns.yaml'), 'utf8')),
    kubectl.apply(listOf(volumeResources())),
    kubectl(['kustomize', metricsServer(generated)]).then((yaml) => kubectl.apply(yaml)),
  ])
}

/** Writes a kustomization over metrics-server's own manifests. @returns its folder */
function metricsServer(generated: string): string {
  const folder = join(generated, 'metrics-server')
  mkdirSync(folder, { recursive: true })
  const [image = '', tag = ''] = metricsServerImage.split(/:(?=v)/)
  const kustomization = {
    resources: [relative(folder, inPart('metrics-server', 'manifests'))],
    images: [{ name: 'gcr.io/k8s-staging-metrics-server/metrics-server', newName: image, newTag: tag }],
    patches: [
      {
        target: { kind: 'Deployment' },
        patch: stringify([
          // kubelet's certificate is signed by the cluster's own authority, which pods do not have.
          { op: 'add', path: '/spec/template/spec/containers/0/args/-', value: '--kubelet-insecure-tls' },
          // The shortest that it takes, for autoscaling to react sooner.
          { op: 'add', path: '/spec/template/spec/containers/0/args/-', value: '--metric-resolution=10s' },
          { op: 'add', path: '/spec/template/spec/containers/0/args/-', value: '--kubelet-request-timeout=5s' },
          { op: 'replace', path: '/spec/template/spec/containers/0/readinessProbe/initialDelaySeconds', value: 1 },
          { op: 'replace', path: '/spec/template/spec/containers/0/readinessProbe/periodSeconds', value: 2 },
        ]),
      },
    ],
  }
  writeFileSync(join(folder, 'kustomization.yaml'), stringify(kustomization))
  return folder
}
