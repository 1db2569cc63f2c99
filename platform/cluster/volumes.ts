// Volumes for what asks for one: folders of the node that end with it. They are made beforehand,
// since the programs that make them on demand come as images from a registry.
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { nodeName } from './network.ts'
import { inside, type ClusterPaths } from './paths.ts'

const count = 8
const names = Array.from({ length: count }, (_, index) => `volume-${index}`)

export function makeVolumeFolders(paths: Pick<ClusterPaths, 'node'>): void {
  for (const name of names) mkdirSync(join(paths.node, 'volumes', name), { recursive: true })
}

/** Returns the volumes, and the class that a claim without one gets. */
export function volumeResources(): object[] {
  const storageClass = {
    apiVersion: 'storage.k8s.io/v1',
    kind: 'StorageClass',
    metadata: { name: 'standard', annotations: { 'storageclass.kubernetes.io/is-default-class': 'true' } },
    provisioner: 'kubernetes.io/no-provisioner',
    volumeBindingMode: 'WaitForFirstConsumer',
  }
  const onThisNode = { key: 'kubernetes.io/hostname', operator: 'In', values: [nodeName] }
  return [
    storageClass,
    ...names.map((name) => ({
      apiVersion: 'v1',
      kind: 'PersistentVolume',
      metadata: { name },
      spec: {
        capacity: { storage: '100Gi' },
        accessModes: ['ReadWriteOnce'],
        storageClassName: storageClass.metadata.name,
        // Kubernetes itself cannot empty a folder; the node's end does.
        persistentVolumeReclaimPolicy: 'Retain',
        local: { path: `${inside}/volumes/${name}` },
        nodeAffinity: { required: { nodeSelectorTerms: [{ matchExpressions: [onThisNode] }] } },
      },
    })),
  ]
}
