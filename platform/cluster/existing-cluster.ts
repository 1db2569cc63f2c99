// The shop in a cluster that someone else made: kind, k3d, minikube, or one in a cloud.
import { delimiter, join } from 'node:path'
import { existsSync } from 'node:fs'
import type { Progress } from '../progress.ts'
import { namespace } from '../processes/services.ts'
import { clusterLogin } from './access.ts'
import { applyDapr, renderDapr, requireSidecars } from './dapr.ts'
import { createKubectl } from './kubectl.ts'
import { ensureClusterParts, inPart } from './parts.ts'
import type { ClusterPaths } from './paths.ts'
import { waitForWorkloads } from './pods.ts'
import { applyServers, applyServices, renderOverlay, shopSecrets } from './shop.ts'

/**
 * Puts Dapr, unless it is there, and the shop into the cluster of a context of the kubeconfig. Its
 * nodes must be able to get the images.
 * @param options.overlay of k8s/overlays
 * @returns how to reach it
 * @throws Error with what did not become ready, and how to get images to a node
 */
export async function upInContext(
  { context, overlay = 'local' }: { context: string; overlay?: string | undefined },
  paths: ClusterPaths,
  progress: Progress,
): Promise<string> {
  const [kubectlPath, helm] = await Promise.all([
    findOrBuild('kubectl', progress),
    findOrBuild('helm', progress),
    ensureClusterParts(['dapr'], progress),
  ])
  const kubectl = createKubectl([kubectlPath, '--context', context])
  await kubectl(['get', '--raw', '/readyz'])
  const hasDapr = await kubectl(['get', 'deployment', 'dapr-sidecar-injector', '--namespace', 'dapr-system']).then(
    () => true,
    () => false,
  )
  if (!hasDapr) {
    await progress.step({ title: 'Dapr' }, async (note) => {
      const chart = await renderDapr(helm)
      await applyDapr(kubectl, chart)
      await waitForWorkloads(kubectl, 'dapr-system', { note })
      await requireSidecars(kubectl, chart)
    })
  }
  const secrets = shopSecrets(paths.state)
  try {
    const resources = await renderOverlay(kubectl, overlay)
    await progress.step({ title: "The shop's servers" }, (note) => applyServers(kubectl, resources, secrets, { note }))
    await progress.step({ title: "The shop's services" }, (note) => applyServices(kubectl, resources, { note }))
  } catch (error) {
    const { message } = error as Error
    if (!/ErrImage|ImagePullBackOff/.test(message)) throw error
    throw new Error(`${message}\n\n${howToLoadImages}`, { cause: error })
  }
  const login = await clusterLogin(kubectl, secrets)
  return `The shop runs in ${context}. Reach it from this machine:
  kubectl --context ${context} -n ${namespace} port-forward service/edge 8080:80
  http://127.0.0.1:8080/docs
Demo shopper: ${login.shopper.email}  ${login.shopper.password}
Demo admin:   ${login.admin.email}  ${login.admin.password}
Remove it: kubectl --context ${context} delete namespace ${namespace}`
}

const howToLoadImages = `The nodes have to get the project's images. Build each with Docker or Podman,
and load it, here for "orders":
  docker build -f images/Containerfile --target orders -t sidecart/orders .
  kind load docker-image sidecart/orders          (kind)
  k3d image import sidecart/orders                (k3d)
  minikube image load sidecart/orders             (minikube)
or push them to a registry, and name that in an overlay of yours (docs/deploying.md).`

/** A program on PATH will do; building one takes minutes. */
async function findOrBuild(name: 'kubectl' | 'helm', progress: Progress): Promise<string> {
  const found = (process.env['PATH'] ?? '')
    .split(delimiter)
    .map((folder) => join(folder, name))
    .find((path) => existsSync(path))
  if (found !== undefined) return found
  await ensureClusterParts([name], progress)
  return inPart(name)
}
