// After all tests against the whole shop nothing may disagree in it, whatever they did to it.
import type { TestProject } from 'vitest/node'
import { attachShop } from '../platform/start/shop.ts'
import { addressesOf, audit } from '../reconcile/audit.ts'

export default async function setup(project: TestProject): Promise<(() => Promise<void>) | undefined> {
  // A cluster's databases are not reached from here.
  if (process.env['SHOP_CLUSTER']) return undefined
  const instance = project.getProvidedContext().shopInstance
  return async () => {
    const { findings } = await audit(addressesOf(await attachShop(instance)), { settleMs: 60_000 })
    if (findings.length > 0)
      throw new Error(findings.map(({ kind, what, detail }) => `${kind} ${what}: ${detail}`).join('\n'))
  }
}
