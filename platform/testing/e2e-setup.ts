// Starts the whole shop for e2e/, next to any other shop: with its own ports, data and secrets.
// With SHOP_INSTANCE the tests run against that shop instead, and with SHOP_CLUSTER against the one
// in this clone's cluster, where those that stop processes cannot run. Both must run already.
import type { TestProject } from 'vitest/node'
import { ensureDemoLogin } from '../accounts.ts'
import { podUrl, shopAccess } from '../cluster/access.ts'
import { attachCluster } from '../cluster/cluster.ts'
import { createClusterPaths } from '../cluster/paths.ts'
import { attachShop, startShop } from '../start/shop.ts'

declare module 'vitest' {
  export interface ProvidedContext {
    /** The gateway, http://127.0.0.1:<port>. */
    shopApi: string
    /** Jaeger's query API, http://127.0.0.1:<port>. */
    shopJaeger: string
    /**
     * Its name for `attachShop`, which gives ports, secrets and each process to kill and restart.
     */
    shopInstance: string
    adminEmail: string
    adminPassword: string
  }
}

export default async function setup(project: TestProject): Promise<(() => Promise<void>) | undefined> {
  if (process.env['SHOP_CLUSTER']) return useCluster(project)
  const running = process.env['SHOP_INSTANCE']
  const shop = running ? await attachShop(running) : await startShop({ instance: 'e2e', portBase: 'free', fresh: true })
  const login = await ensureDemoLogin(shop)
  const provided = {
    shopApi: `http://127.0.0.1:${shop.ports.api}`,
    shopJaeger: `http://127.0.0.1:${shop.ports.jaegerQuery}`,
    shopInstance: shop.instance,
  }
  for (const [name, value] of Object.entries(provided)) project.provide(name as keyof typeof provided, value)
  project.provide('adminEmail', login.admin.email)
  project.provide('adminPassword', login.admin.password)
  process.env['SHOP_API'] = provided.shopApi
  process.env['SHOP_JAEGER'] = provided.shopJaeger
  process.env['SHOP_INSTANCE'] = provided.shopInstance
  return shop.reused ? undefined : shop.stop
}

async function useCluster(project: TestProject): Promise<undefined> {
  const cluster = attachCluster(createClusterPaths())
  if (cluster === undefined) throw new Error('No cluster runs. `npm run cluster -- up` starts one.')
  const [{ api, login }, jaeger] = await Promise.all([shopAccess(cluster), podUrl(cluster.kubectl, 'jaeger', 16686)])
  project.provide('shopApi', api)
  project.provide('shopJaeger', jaeger)
  project.provide('adminEmail', login.admin.email)
  project.provide('adminPassword', login.admin.password)
}
