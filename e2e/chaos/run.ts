// A chaos run: shoppers order while processes of the shop are killed and stopped at random. Then
// every accepted order must be terminal, and everything must agree.
import { setTimeout as sleep } from 'node:timers/promises'
import { ensureDemoLogin } from '../../platform/accounts.ts'
import { poll } from '../../platform/poll.ts'
import type { Progress } from '../../platform/progress.ts'
import { startShop, type Shop } from '../../platform/start/shop.ts'
import { statuses } from '../../platform/supervise/status.ts'
import { createShopApi } from '../../platform/testing/shop-api.ts'
import { addressesOf, audit, type Audit } from '../../reconcile/audit.ts'
import { readShop } from '../../reconcile/read-shop.ts'
import type { Finding } from '../../reconcile/rules.ts'
import type { Order } from '../../reconcile/shop-state.ts'
import { goShopping, shopperCount, type LoadResult } from './load.ts'
import { createPlan, describeStep, type Step, type Victims } from './plan.ts'

export type ChaosResult = {
  seed: number
  seconds: number
  kills: Record<string, number>
  freezes: Record<string, number>
  load: Omit<LoadResult, 'accepted'> & { accepted: number }
  /** What became of the accepted orders. */
  orders: Record<string, number>
  /** From the end of the load until every order was terminal. */
  drainMs: number
  /** Accepted orders that are not there, differ from what was asked for, or are not terminal. */
  violations: string[]
  audit: Audit
}

/** How long what was killed may take to be healthy again. */
const patienceMs = 120_000
/** How long orders may take to be terminal after the load: longer than their deadlines below. */
const drainMs = 240_000

/**
 * Deadlines that a run can wait for. The usual ones, a quarter of an hour, would make a step that
 * no service takes look like one that takes long.
 */
const settings = { STOCK_TIMEOUT_S: '60', PAYMENT_TIMEOUT_S: '60' }

/** Starts an empty shop with two replicas of each service of the saga. */
export function startChaosShop(instance: string, progress?: Progress): Promise<Shop> {
  Object.assign(process.env, settings)
  return startShop({
    instance,
    portBase: 'free',
    fresh: true,
    replicas: ['inventory', 'orders', 'payments'],
    ...(progress && { progress }),
  })
}

/**
 * Runs the plan of `seed` until there were `kills`, or for `minutes`.
 * @throws Error when a victim is not healthy again within two minutes
 */
export async function runShopChaos(
  shop: Shop,
  {
    seed,
    kills = Number.POSITIVE_INFINITY,
    minutes = Number.POSITIVE_INFINITY,
    onStep = () => {},
  }: { seed: number; kills?: number; minutes?: number; onStep?: (text: string) => void },
): Promise<ChaosResult> {
  const began = Date.now()
  const api = createShopApi(`http://127.0.0.1:${shop.ports.api}`)
  const ended = new AbortController()
  try {
    const { admin } = await ensureDemoLogin(shop)
    const adminToken = await api.logIn(admin.email, admin.password)
    const tokens: string[] = []
    while (tokens.length < shopperCount) tokens.push(await api.shopper())
    const skus: string[] = []
    // Some run out during the run.
    for (let n = 0; n < 20; n += 1) skus.push(await api.product(adminToken, n % 4 === 0 ? 60 : 5_000))
    const hotSku = await api.product(adminToken, 5_000)

    let acceptedSoFar = 0
    const load = goShopping({
      api,
      tokens,
      adminToken: async () => adminToken,
      skus,
      hotSku,
      seed,
      signal: ended.signal,
      patienceMs: 60_000,
      onAccepted: () => (acceptedSoFar += 1),
    })
    // Its failure shows below, when it is waited for.
    load.catch(() => {})
    const done = await breakThings(shop, createPlan(seed, await findVictims(shop)), {
      accepted: () => acceptedSoFar,
      until: (killed) => killed >= kills || Date.now() - began > minutes * 60_000,
      onStep,
    })
    ended.abort()
    onStep('the load ends')
    const { accepted, ...counted } = await load

    const drainBegan = Date.now()
    const addresses = addressesOf(shop)
    let orders = new Map<string, Order>()
    await poll(
      'every accepted order is terminal',
      async () => {
        orders = new Map((await readShop(addresses)).orders.map((order) => [order.orderId, order]))
        return [...accepted.keys()].every((id) => isTerminal(orders.get(id)))
      },
      { timeoutMs: drainMs, intervalMs: 1_000 },
    ).catch(() => {
      // The violations below name them.
    })
    const drained = Date.now() - drainBegan
    const found = await audit(addresses, { settleMs: 90_000 })
    return {
      seed,
      seconds: Math.round((Date.now() - began) / 1_000),
      ...done,
      load: { ...counted, accepted: accepted.size },
      orders: found.orders,
      drainMs: drained,
      violations: [...accepted].flatMap(([id, { lines }]) => {
        const order = orders.get(id)
        if (order === undefined) return [`${id} was accepted, and is not there`]
        if (!isTerminal(order)) return [`${id} is ${order.status}`]
        const wanted = (all: typeof lines) => JSON.stringify(all.map((l) => [l.sku, l.quantity]).toSorted())
        return wanted(order.lines) === wanted(lines) ? [] : [`${id} has other lines than were asked for`]
      }),
      audit: found,
    }
  } finally {
    ended.abort()
    api.close()
  }
}

const isTerminal = (order: Order | undefined) => order?.status === 'CONFIRMED' || order?.status === 'CANCELLED'

/** Everything but Jaeger, which no order needs. */
async function findVictims(shop: Shop): Promise<Victims> {
  const all = await statuses(shop.paths)
  const names = (kind: keyof Victims) =>
    all.filter((one) => one.kind === kind && one.name !== 'jaeger').map(({ name }) => name)
  return {
    service: names('service'),
    sidecar: names('sidecar'),
    component: names('component'),
    server: names('server'),
  }
}

async function breakThings(
  shop: Shop,
  plan: Iterable<Step>,
  {
    until,
    accepted,
    onStep,
  }: { until: (kills: number) => boolean; accepted: () => number; onStep: (text: string) => void },
): Promise<Pick<ChaosResult, 'kills' | 'freezes'>> {
  const kills: Record<string, number> = {}
  const freezes: Record<string, number> = {}
  const thawing = new Map<string, Promise<void>>()
  let killed = 0
  let acceptedBefore = -1
  for (const step of plan) {
    if (until(killed)) break
    await sleep(step.afterMs)
    // A shop that is broken again before it has worked shows little. What is frozen may hold it up.
    if (!step.eager) {
      await poll('an order is accepted', () => accepted() > acceptedBefore, { timeoutMs: 30_000 }).catch(() => {})
    }
    acceptedBefore = accepted()
    const victim = shop.process(step.victim)
    // It is being restarted, or frozen by a step before.
    if (thawing.has(step.victim)) continue
    const pid = await victim.pid()
    if (pid === 0) continue
    onStep(describeStep(step))
    if (step.action === 'kill') {
      await victim.kill('SIGKILL')
      kills[step.victim] = (kills[step.victim] ?? 0) + 1
      killed += 1
      // The next one may come at any time, but not for ever faster than they come back.
      await victim.ready({ not: pid, timeoutMs: patienceMs })
    } else {
      await victim.kill('SIGSTOP')
      freezes[step.victim] = (freezes[step.victim] ?? 0) + 1
      // Meanwhile others are killed.
      const thaw = sleep(step.forMs).then(() => {
        thawing.delete(step.victim)
        try {
          process.kill(pid, 'SIGCONT')
        } catch {
          // It has ended, and was started again.
        }
      })
      thawing.set(step.victim, thaw)
    }
  }
  await Promise.all(thawing.values())
  const running = await statuses(shop.paths)
  for (const { name } of running) if (name !== 'jaeger') await shop.process(name).ready({ timeoutMs: patienceMs })
  return { kills, freezes }
}

/** Everything that a run must not end with. */
export const faultsOf = ({ violations, audit: { findings } }: ChaosResult): string[] => [
  ...violations,
  ...findings.map(({ kind, what, detail }: Finding) => `${kind} ${what}: ${detail}`),
]
