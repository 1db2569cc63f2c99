// The shop in a cluster: its secrets, its servers, then its services.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { clusterSecrets } from '../processes/cluster-secrets.ts'
import { root } from '../processes/paths.ts'
import { loadSecrets, type Secrets } from '../processes/secrets.ts'
import { namespace } from '../processes/services.ts'
import type { Kubectl } from './kubectl.ts'
import { waitForWorkloads } from './pods.ts'
import { listOf, parseResources, splitByDapr, type Resource } from './resources.ts'

/** Builds an overlay of k8s/overlays. @throws Error with what kustomize says */
export async function renderOverlay(kubectl: Kubectl, name: string): Promise<Resource[]> {
  return parseResources(await kubectl(['kustomize', join(root, 'k8s', 'overlays', name)]))
}

/** Returns the shop's random secrets, which are made once and kept in `state`. */
export function shopSecrets(state: string): Secrets {
  return loadSecrets(join(state, 'secrets.json'))
}

type Options = { note: (text: string) => void; isGone?: () => boolean }

/**
 * Applies the secrets and everything that runs without Dapr: servers, and the Job that creates
 * users, databases and topics on them. Returns when that is done: services that come sooner would
 * fail, and Kubernetes starts them again later and later.
 */
export async function applyServers(
  kubectl: Kubectl,
  resources: readonly Resource[],
  secrets: Secrets,
  { note, ...options }: Options,
): Promise<void> {
  const { first } = splitByDapr(resources)
  // Applied first: all others are in it.
  await kubectl.apply(readFileSync(join(root, 'k8s', 'base', 'namespace.yaml'), 'utf8'))
  // Jobs cannot be changed, and this one is to run again.
  const jobs = first.filter(({ kind }) => kind === 'Job').map(({ metadata }) => metadata.name)
  if (jobs.length > 0) await kubectl(['delete', 'job', ...jobs, '--namespace', namespace, '--ignore-not-found'])
  await kubectl.apply(listOf(clusterSecrets(secrets)))
  await kubectl.apply(listOf(first))
  await waitForWorkloads(kubectl, namespace, { note, ...options })
}

/** Applies what needs Dapr, the services. Returns when all pods are ready. */
export async function applyServices(
  kubectl: Kubectl,
  resources: readonly Resource[],
  { note, ...options }: Options,
): Promise<void> {
  await kubectl.apply(listOf(splitByDapr(resources).rest))
  await waitForWorkloads(kubectl, namespace, { note, ...options })
}
