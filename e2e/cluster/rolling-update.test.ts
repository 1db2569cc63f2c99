// What a release, a crash and a maintenance do to shoppers: nothing.
import { beforeAll, expect, it } from 'vitest'
import { poll } from '../../platform/poll.ts'
import { serviceNames } from '../../platform/processes/services.ts'
import { product, untilAvailable } from '../shop-client.ts'
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
  await untilAvailable(sku, units - sold)
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

const rollout = (deployment: string) => kubectl(['rollout', 'status', `deployment/${deployment}`, '--timeout=180s'])

it.each([...serviceNames, 'edge'])(
  'a rolling update of %s under load fails no request',
  async (deployment) => {
    const before = await podsOf(deployment)
    const report = await underLoad(async () => {
      await kubectl(['rollout', 'restart', `deployment/${deployment}`])
      await rollout(deployment)
      // The old pod still serves who knows its address; its end is part of the update.
      await poll(`the old pods of ${deployment} are gone`, async () => noneOf(before, await podsOf(deployment)), {
        timeoutMs: 120_000,
      })
    })
    sold += report.orders.length
    process.stdout.write(
      `${deployment}: ${report.requests} requests, ${report.orders.length} orders, ${report.failures.length} failed
`,
    )
    expect(report.failures).toEqual([])
    expect(report.orders.length).toBeGreaterThan(0)
    await expectEveryOrderOnce(report, sold)
  },
  300_000,
)

it('a pod that is killed is replaced, and no order is lost or charged twice', async () => {
  const [pod] = await podsOf('orders')
  const report = await underLoad(async () => {
    await kubectl(['delete', 'pod', pod!, '--grace-period=0', '--force'])
    await rollout('orders')
  })
  sold += report.orders.length
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
  // The only node was empty for a while: nothing could answer.
  await expectEveryOrderOnce(report, sold)
}, 480_000)

async function podsOf(deployment: string): Promise<string[]> {
  const { items } = await kubectlJson(['get', 'pods', '-l', `app.kubernetes.io/name=${deployment}`])
  return items.map(({ metadata }) => metadata.name)
}

const noneOf = (before: string[], now: string[]) => before.every((name) => !now.includes(name))
