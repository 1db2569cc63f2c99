// Where a cluster keeps its files: on the machine, and as its own processes see them.
import { join } from 'node:path'
import { root } from '../processes/paths.ts'

export type ClusterPaths = {
  name: string
  /** Folder with everything of this cluster. */
  state: string
  /** Its processes and network while it runs. */
  record: string
  lock: string
  kubeconfig: string
  /** Output of each program of the node. */
  logs: string
  /** What is made at each start and deleted at its end. */
  node: string
  /** The node's images: kept, since importing them takes most of a start. */
  images: string
  /** What `init.ts` is told. */
  initInput: string
}

/** @param name of the cluster; tests have some of their own */
export function createClusterPaths(name: string = 'cluster', clone: string = root): ClusterPaths {
  const state = join(clone, '.sidecart', name)
  return {
    name,
    state,
    record: join(state, 'cluster.json'),
    lock: join(state, 'lock'),
    kubeconfig: join(state, 'kubeconfig'),
    logs: join(state, 'logs'),
    node: join(state, 'node'),
    images: join(state, 'images'),
    initInput: join(state, 'node', 'init.json'),
  }
}

/** `paths.node` in the cluster's own mount namespace, where paths are short and always the same. */
export const inside = '/run/sidecart'
export const containerdSocket = '/run/containerd/containerd.sock'

/** containerd's socket from the host, by a process of the cluster. Its path fits a Unix socket. */
export function containerdFromHost(initPid: number): string {
  return `/proc/${initPid}/root${containerdSocket}`
}
