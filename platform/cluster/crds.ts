// The CustomResourceDefinitions that k8s/ needs, from their projects' own Go modules: for
// `npm run cluster -- up`, which applies them, and for the lint, which makes schemas of them.
//
// The OpenTelemetry operator's are not among them: k8s/components/otel-collector is a plain
// Deployment.
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { cacheFolder } from '../parts/cache.ts'
import { buildOnce } from '../parts/ensure.ts'
import { daprVersion } from '../parts/parts.ts'
import { copiedFromGo } from '../parts/recipes.ts'
import type { Progress } from '../progress.ts'
import type { Kubectl } from './kubectl.ts'

export type CrdSource = {
  title: string
  /** Short name of its folder in the cache. */
  name: string
  module: string
  /** Not always the newest: Gateway API 1.7 needs Go 1.27. */
  version: string
  folder: string
  /** Only the kinds that k8s/ uses: a large CRD costs the API server memory and time. */
  files: string[]
}

export const crdSources: CrdSource[] = [
  {
    title: 'Dapr',
    name: 'dapr',
    module: 'github.com/dapr/dapr',
    version: `v${daprVersion}`,
    folder: 'charts/dapr/crds',
    files: [
      'components.yaml',
      'configuration.yaml',
      'httpendpoints.yaml',
      // Its operator watches every kind of its chart.
      'mcpservers.yaml',
      'workflowaccesspolicy.yaml',
      'resiliency.yaml',
      'subscription.yaml',
    ],
  },
  {
    title: 'Gateway API',
    name: 'gateway-api',
    module: 'sigs.k8s.io/gateway-api',
    version: 'v1.6.3',
    folder: 'config/crd/standard',
    // GRPCRoutes are Traefik's wish: it waits for every kind that it watches.
    files: ['gatewayclasses', 'gateways', 'httproutes', 'grpcroutes', 'referencegrants'].map(
      (kind) => `gateway.networking.k8s.io_${kind}.yaml`,
    ),
  },
  {
    title: 'KEDA',
    name: 'keda',
    module: 'github.com/kedacore/keda/v2',
    version: 'v2.21.0',
    folder: 'config/crd/bases',
    files: ['keda.sh_scaledobjects.yaml', 'keda.sh_triggerauthentications.yaml'],
  },
  {
    title: 'cert-manager',
    name: 'cert-manager',
    module: 'github.com/cert-manager/cert-manager',
    version: 'v1.21.2',
    folder: 'deploy/crds',
    files: ['certificates', 'issuers', 'clusterissuers'].map((kind) => `cert-manager.io_${kind}.yaml`),
  },
  {
    title: 'Prometheus operator',
    name: 'prometheus-operator',
    module: 'github.com/prometheus-operator/prometheus-operator',
    version: 'v0.85.0',
    folder: 'example/prometheus-operator-crd',
    files: ['podmonitors', 'servicemonitors', 'prometheusrules'].map((kind) => `monitoring.coreos.com_${kind}.yaml`),
  },
  {
    title: 'External Secrets',
    name: 'external-secrets',
    module: 'github.com/external-secrets/external-secrets',
    version: 'v1.3.2',
    folder: 'config/crds/bases',
    files: ['externalsecrets', 'secretstores'].map((kind) => `external-secrets.io_${kind}.yaml`),
  },
]

/**
 * Fetches the CRDs that are not in the cache.
 * @returns one folder for each source, with nothing but its CRDs as YAML
 * @throws Error when Go is missing, or a module or a file of it cannot be had
 */
export async function ensureCrds(
  progress: Progress,
  sources: CrdSource[] = crdSources,
): Promise<{ source: CrdSource; folder: string; files: string[] }[]> {
  const found = []
  for (const source of sources) {
    const cacheKey = `crds-${source.name}-${source.version}-${hashOfText(source.files.join())}`
    const folder = join(cacheFolder(), cacheKey)
    if (!existsSync(folder)) {
      const { title, module, version } = source
      const paths = source.files.map((file) => [`${source.folder}/${file}`, file])
      const recipe = copiedFromGo(module, version, Object.fromEntries(paths))
      await buildOnce({ title: `CRDs of ${title}`, cacheKey, recipe, usualSeconds: 5 }, progress)
    }
    const files = readdirSync(folder).map((file) => join(folder, file))
    found.push({ source, folder, files })
  }
  return found
}

const hashOfText = (text: string) => createHash('sha256').update(text).digest('hex').slice(0, 8)

/** Installs them all, and waits until the API server knows their kinds. */
export async function applyCrds(kubectl: Kubectl, progress: Progress): Promise<void> {
  const files = (await ensureCrds(progress)).flatMap((source) => source.files)
  await progress.step({ title: 'CRDs', usualSeconds: 5 }, async () => {
    await kubectl.apply(files.map((file) => readFileSync(file, 'utf8')).join('\n---\n'))
    await kubectl(['wait', 'crd', '--all', '--for', 'condition=Established', '--timeout', '60s'])
  })
}
