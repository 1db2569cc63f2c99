// Brings up the shop in a cluster for e2e/cluster, unless one of this clone runs, and ends it again
// unless CLUSTER_KEEP is set. Where no cluster can be made it fails and says why.
import type { TestProject } from 'vitest/node'
import { podUrl, shopAccess } from '../cluster/access.ts'
import { startCluster, stopCluster } from '../cluster/cluster.ts'
import { createClusterPaths } from '../cluster/paths.ts'
import { createProgress } from '../progress.ts'

declare module 'vitest' {
  export interface ProvidedContext {
    kubeconfig: string
    /** Where NodePorts are. */
    nodeAddress: string
    shopperEmail: string
    shopperPassword: string
  }
}

export default async function setup(project: TestProject): Promise<(() => Promise<void>) | undefined> {
  const paths = createClusterPaths()
  const progress = createProgress()
  const cluster = await startCluster(paths, { progress })
  progress.close()
  const { kubectl, node } = cluster
  const { network } = node
  const stop = async () => void (await stopCluster(paths))
  const keeps = cluster.reused || Boolean(process.env['CLUSTER_KEEP'])
  try {
    const [{ api, login }, jaeger] = await Promise.all([shopAccess(cluster), podUrl(kubectl, 'jaeger', 16686)])
    project.provide('shopApi', api)
    project.provide('shopJaeger', jaeger)
    project.provide('kubeconfig', paths.kubeconfig)
    project.provide('nodeAddress', network.nodeAddress)
    project.provide('adminEmail', login.admin.email)
    project.provide('adminPassword', login.admin.password)
    project.provide('shopperEmail', login.shopper.email)
    project.provide('shopperPassword', login.shopper.password)
    // For the programs that tests start, and for runKubectl. The workers are forked later and
    // inherit these.
    process.env['KUBECONFIG'] = paths.kubeconfig
    process.env['SHOP_API'] = api
    process.env['SHOP_JAEGER'] = jaeger
  } catch (error) {
    if (!keeps) await stop()
    throw error
  }
  return keeps ? undefined : stop
}
