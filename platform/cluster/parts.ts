// The programs of a Kubernetes node, built from their Go modules: no image registry is needed.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { cacheFolder } from '../parts/cache.ts'
import { buildAll, type Buildable } from '../parts/ensure.ts'
import { daprVersion } from '../parts/parts.ts'
import { copiedFromGo, downloadModule, fromGo, programsFromGo, type Recipe } from '../parts/recipes.ts'
import { runLogged } from '../parts/run-logged.ts'
import type { Progress } from '../progress.ts'

export const kubernetesVersion = '1.34.0'
const etcdVersion = '3.6.4'
const corednsVersion = '1.15.0'
const metricsServerVersion = '0.9.0'
const helmVersion = '3.19.0'
const kustomizeVersion = '5.7.1'
const pauseVersion = '3.10'
const traefikVersion = '3.5.3'

export type ClusterPart = Buildable & {
  /** What the recipe needs on PATH. */
  tools: string[]
}

const howToGet = 'install Go (https://go.dev/dl), see the log for what else failed'

/** Kubernetes' own libraries: in its repository they are folders, for everyone else modules. */
export function publishedStaging(goMod: string): string {
  const version = `v0.${kubernetesVersion.slice('1.'.length)}`
  return goMod
    .replaceAll(/=> \.\/staging\/src\/(k8s\.io\/[a-z0-9-]+)/g, `=> $1 ${version}`)
    .replaceAll(/(k8s\.io\/[a-z0-9-]+) v0\.0\.0$/gm, `$1 ${version}`)
}

/** Without the replaces by folders of its own repository: the requires name published versions. */
export function withoutLocalReplaces(goMod: string): string {
  return goMod
    .replaceAll(/^replace \(\n(?:\s+\S.*=> \.\.?\/.*\n|\s*\n)*\)\n/gm, '')
    .replaceAll(/^(replace )?\s*\S+ => \.\.?\/.*\n/gm, '')
}

const kubernetesFlags = ['k8s.io/component-base/version', 'k8s.io/client-go/pkg/version']
  .map(
    (path) =>
      `-X ${path}.gitVersion=v${kubernetesVersion} -X ${path}.gitMajor=1 -X ${path}.gitMinor=34 ` +
      `-X ${path}.gitTreeState=clean -X ${path}.gitCommit=none -X ${path}.buildDate=2025-01-01T00:00:00Z`,
  )
  .join(' ')

const kubernetes = {
  module: 'k8s.io/kubernetes',
  version: `v${kubernetesVersion}`,
  ldflags: kubernetesFlags,
  editGoMod: publishedStaging,
}

const pause: Recipe = async (folder, log) => {
  const source = await downloadModule('k8s.io/kubernetes', `v${kubernetesVersion}`, folder, log)
  const program = join(source, 'build', 'pause', 'linux', 'pause.c')
  const flags = ['-Os', '-s', '-static', `-DVERSION=v${pauseVersion}`]
  await runLogged(log, 'gcc', [...flags, '-o', join(folder, 'pause'), program])
}

/** Times on two cores with nothing downloaded yet (November 2026). */
export const clusterParts = {
  kubernetes: {
    title: 'Kubernetes',
    cacheKey: `kubernetes-${kubernetesVersion}`,
    recipe: programsFromGo({
      ...kubernetes,
      packages: ['kube-apiserver', 'kube-controller-manager', 'kube-scheduler', 'kubelet', 'kube-proxy'].map(
        (name) => `k8s.io/kubernetes/cmd/${name}`,
      ),
    }),
    tools: ['go'],
    usualSeconds: 450,
    howToGet,
  },
  kubectl: {
    title: 'kubectl',
    cacheKey: `kubectl-${kubernetesVersion}`,
    recipe: programsFromGo({ ...kubernetes, packages: ['k8s.io/kubernetes/cmd/kubectl'] }),
    tools: ['go'],
    usualSeconds: 60,
    howToGet,
  },
  etcd: {
    title: 'etcd',
    cacheKey: `etcd-${etcdVersion}`,
    recipe: fromGo({
      module: 'go.etcd.io/etcd/server/v3',
      version: `v${etcdVersion}`,
      program: { mainFile: join(import.meta.dirname, 'etcd', 'main.go') },
      binary: 'etcd',
      editGoMod: withoutLocalReplaces,
    }),
    tools: ['go'],
    usualSeconds: 30,
    howToGet,
  },
  coredns: {
    title: 'CoreDNS',
    cacheKey: `coredns-${corednsVersion}`,
    recipe: fromGo({
      module: 'github.com/coredns/coredns',
      version: `v${corednsVersion}`,
      program: { package: 'github.com/coredns/coredns' },
      binary: 'coredns',
      isStatic: true,
    }),
    tools: ['go'],
    usualSeconds: 170,
    howToGet,
  },
  'metrics-server': {
    title: 'metrics-server',
    cacheKey: `metrics-server-${metricsServerVersion}`,
    recipe: async (folder, log) => {
      const module = { module: 'sigs.k8s.io/metrics-server', version: `v${metricsServerVersion}` }
      const program = { package: 'sigs.k8s.io/metrics-server/cmd/metrics-server' }
      await fromGo({ ...module, program, binary: 'metrics-server', isStatic: true })(folder, log)
      await copiedFromGo(module.module, module.version, { 'manifests/base': 'manifests' })(folder, log)
    },
    tools: ['go'],
    usualSeconds: 150,
    howToGet,
  },
  dapr: {
    title: 'Dapr control plane',
    cacheKey: `dapr-control-plane-${daprVersion}`,
    recipe: async (folder, log) => {
      const module = { module: 'github.com/dapr/dapr', version: `v${daprVersion}` }
      await programsFromGo({
        ...module,
        packages: ['sentry', 'operator', 'injector', 'placement'].map((name) => `github.com/dapr/dapr/cmd/${name}`),
        ldflags: `-X github.com/dapr/dapr/pkg/buildinfo.version=${daprVersion}`,
        isStatic: true,
      })(folder, log)
      await copiedFromGo(module.module, module.version, { 'charts/dapr': 'chart' })(folder, log)
    },
    tools: ['go'],
    usualSeconds: 120,
    howToGet,
  },
  helm: {
    title: 'Helm',
    cacheKey: `helm-${helmVersion}`,
    recipe: fromGo({
      module: 'helm.sh/helm/v3',
      version: `v${helmVersion}`,
      program: { package: 'helm.sh/helm/v3/cmd/helm' },
      binary: 'helm',
    }),
    tools: ['go'],
    usualSeconds: 100,
    howToGet,
  },
  kustomize: {
    title: 'Kustomize',
    cacheKey: `kustomize-${kustomizeVersion}`,
    recipe: fromGo({
      module: 'sigs.k8s.io/kustomize/kustomize/v5',
      version: `v${kustomizeVersion}`,
      program: { package: 'sigs.k8s.io/kustomize/kustomize/v5' },
      binary: 'kustomize',
      ldflags: `-X sigs.k8s.io/kustomize/api/provenance.version=v${kustomizeVersion}`,
    }),
    tools: ['go'],
    usualSeconds: 50,
    howToGet,
  },
  // Makes Gateways and HTTPRoutes come true, for the tests that need one.
  traefik: {
    title: 'Traefik',
    cacheKey: `traefik-${traefikVersion}`,
    recipe: fromGo({
      module: 'github.com/traefik/traefik/v3',
      version: `v${traefikVersion}`,
      program: { package: 'github.com/traefik/traefik/v3/cmd/traefik' },
      binary: 'traefik',
      isStatic: true,
      ldflags: `-X github.com/traefik/traefik/v3/pkg/version.Version=${traefikVersion}`,
    }),
    tools: ['go'],
    usualSeconds: 600,
    howToGet,
  },
  pause: {
    title: 'pause',
    cacheKey: `pause-${pauseVersion}`,
    recipe: pause,
    tools: ['go', 'gcc'],
    usualSeconds: 5,
    howToGet: 'install Go and a C compiler',
  },
} as const satisfies Record<string, ClusterPart>

export type ClusterPartName = keyof typeof clusterParts

/**
 * Returns the path of a program or folder of a part as it is once that is built.
 * @param file by default the program that is named like the part
 */
export function inPart(name: ClusterPartName, file: string = name): string {
  return join(cacheFolder(), clusterParts[name].cacheKey, file)
}

/**
 * Builds the named parts that are not in the cache.
 * @throws Error with one line for each part that could not be built
 */
export async function ensureClusterParts(names: readonly ClusterPartName[], progress: Progress): Promise<void> {
  const missing = names.filter((name) => !existsSync(join(cacheFolder(), clusterParts[name].cacheKey)))
  await buildAll(
    missing.map((name): ClusterPart => clusterParts[name]),
    progress,
  )
}
