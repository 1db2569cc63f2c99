// The CustomResourceDefinitions that k8s/ needs, from their projects' own Go modules: for
// `npm run cluster -- up`, which applies them, and for the lint, which makes schemas of them.
//
// The OpenTelemetry operator's are not among them: k8s/components/otel-collector is a plain
// Deployment.
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { copyFileSync, existsSync, mkdirSync, readdirSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { cacheFolder } from '../parts/cache.ts'
import { buildOnce } from '../parts/ensure.ts'
import { daprVersion } from '../parts/parts.ts'
import type { Recipe } from '../parts/recipes.ts'
import { runLogged } from '../parts/run-logged.ts'
import type { Progress } from '../progress.ts'

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
    files: ['gatewayclasses', 'gateways', 'httproutes', 'referencegrants'].map(
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
      const { title, module, version, files } = source
      const recipe = filesFromGo(
        module,
        version,
        files.map((file) => `${source.folder}/${file}`),
      )
      await buildOnce({ title: `CRDs of ${title}`, cacheKey, recipe, usualSeconds: 5 }, progress)
    }
    const files = readdirSync(folder).map((file) => join(folder, file))
    found.push({ source, folder, files })
  }
  return found
}

/** Copies files of a Go module's archive into the folder, without their own folders. */
export function filesFromGo(module: string, version: string, files: string[]): Recipe {
  return async (folder, log) => {
    const source = await downloadModule(module, version, log)
    for (const file of files) {
      if (!existsSync(join(source, file))) throw new Error(`${module} ${version} has no ${file}`)
      copyFileSync(join(source, file), join(folder, basename(file)))
    }
  }
}

/**
 * Downloads a Go module's archive, without its dependencies.
 * @returns the folder with its files, in Go's module cache
 */
async function downloadModule(module: string, version: string, log: string): Promise<string> {
  // Outside every module: a go.mod in a parent folder must not interfere.
  const cwd = join(dirname(log), 'go-download')
  mkdirSync(cwd, { recursive: true })
  const options = { cwd, env: { ...process.env, GOWORK: 'off', GO111MODULE: 'on' } }
  await runLogged(log, 'go', ['mod', 'download', `${module}@${version}`], options)
  const listed = execFileSync('go', ['mod', 'download', '-json', `${module}@${version}`], {
    ...options,
    encoding: 'utf8',
  })
  return (JSON.parse(listed) as { Dir: string }).Dir
}

const hashOfText = (text: string) => createHash('sha256').update(text).digest('hex').slice(0, 8)
