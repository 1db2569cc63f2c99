// What a release, a crash and a maintenance do to shoppers: nothing.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { poll } from '../../platform/poll.ts'
import { serviceNames } from '../../platform/processes/services.ts'
import { product, untilLeft } from '../shop-client.ts'
import { kubectl, kubectlJson } from './kubectl.ts'
import { chargesByOrder, deadLetters } from './ledgers.ts'
import { outcomes, startShoppers, type Report } from './shoppers.ts'

const units = 100_000
/** With their pauses they leave half of two cores to what is tested. */
const shoppers = 3

let sku: string
beforeAll(async () => {
  sku = await product(units)
})

/**
 * Every accepted order is CONFIRMED and charged exactly once, and as many units are sold as were
 * ordered: none lost, none doubled.
 */
async function expectEveryOrderOnce(report: Report, sold: number): Promise<void> {
  const ended = await outcomes(report)
  expect(ended.map(({ status }) => status)).toEqual(ended.map(() => 'CONFIRMED'))
  const charges = await chargesByOrder()
  expect(report.orders.filter(({ id }) => charges.get(id) !== 1).map(({ id }) => [id, charges.get(id)])).toEqual([])
  await untilLeft(sku, units - sold)
  expect(await deadLetters()).toEqual([])
}

let sold = 0

async function underLoad(work: () => Promise<void>): Promise<Report> {
  const { stop } = await startShoppers(shoppers, sku)
  try {
    await work()
  } finally {
    // So that a failure of `work` does not leave shoppers behind.
    await stop()
  }
  return stop()
}

const print = (what: string, { requests, orders, failures, pushedBack }: Report) =>
  process.stdout.write(
    `${what}: ${requests} requests, ${orders.length} orders, ${failures.length} failed, ` +
      `${pushedBack} orders told to come later\n`,
  )

const rollout = (deployment: string) => kubectl(['rollout', 'status', `deployment/${deployment}`, '--timeout=180s'])

describe('rolling updates under load, one after the other', () => {
  const deployments = [...serviceNames, 'edge']
  const old: string[] = []
  let load: Awaited<ReturnType<typeof startShoppers>>
  beforeAll(async () => {
    load = await startShoppers(shoppers, sku)
  })
  afterAll(() => load.stop())

  it.each(deployments)(
    '%s is updated, and no request fails',
    async (deployment) => {
      const { report } = load
      const before = { ...report, orders: report.orders.length, failures: report.failures.length }
      old.push(...(await podsOf(deployment)))
      await kubectl(['rollout', 'restart', `deployment/${deployment}`])
      await rollout(deployment)
      const meanwhile = {
        requests: report.requests - before.requests,
        orders: report.orders.slice(before.orders),
        failures: report.failures.slice(before.failures),
        pushedBack: report.pushedBack - before.pushedBack,
      }
      print(deployment, meanwhile)
      expect(meanwhile.failures).toEqual([])
      expect(meanwhile.orders.length).toBeGreaterThan(0)
    },
    240_000,
  )

  // They serve who knows their addresses long after the new ones are ready. So a pod of the next
  // Deployment starts while they end, as in a release.
  it('the old pods end, no request has failed, and every order is charged once', async () => {
    expect(old.length).toBeGreaterThanOrEqual(deployments.length)
    const haveEnded = async () => {
      const now = (await Promise.all(deployments.map(podsOf))).flat()
      return old.every((name) => !now.includes(name))
    }
    await poll('the old pods are gone', haveEnded, { timeoutMs: 120_000 })
    const report = await load.stop()
    sold += report.orders.length
    print('all updates', report)
    expect(report.failures).toEqual([])
    await expectEveryOrderOnce(report, sold)
  }, 300_000)
})

it('a pod that is killed is replaced, and no order is lost or charged twice', async () => {
  const [pod] = await podsOf('orders')
  const report = await underLoad(async () => {
    await kubectl(['delete', 'pod', pod!, '--grace-period=0', '--force'])
    await rollout('orders')
  })
  sold += report.orders.length
  print('killed pod of orders', report)
  // Requests in flight fail, with a clear 503; what was accepted is kept.
  expect(report.failures.filter((line) => !/ 503 /.test(line))).toEqual([])
  await expectEveryOrderOnce(report, sold)
}, 300_000)

it('a node is drained and comes back, and no order is lost or charged twice', async () => {
  const [node] = (await kubectlJson(['get', 'nodes'])).items.map(({ metadata }) => metadata.name)
  const report = await underLoad(async () => {
    await kubectl([
      'drain',
      node!,
      '--ignore-daemonsets',
      '--delete-emptydir-data',
      '--pod-selector=app.kubernetes.io/component=service',
      '--timeout=180s',
    ])
    await kubectl(['uncordon', node!])
    for (const name of serviceNames) await rollout(name)
  })
  sold += report.orders.length
  print('drained node', report)
  // The only node was empty for a while: nothing could answer.
  await expectEveryOrderOnce(report, sold)
}, 480_000)

async function podsOf(deployment: string): Promise<string[]> {
  const { items } = await kubectlJson(['get', 'pods', '-l', `app.kubernetes.io/name=${deployment}`])
  return items.map(({ metadata }) => metadata.name)
}
