// `npm run bench -- orders`: how many orders a second become CONFIRMED, how fast, and at what cost.
import { setTimeout as sleep } from 'node:timers/promises'
import { ensureDemoLogin } from '../platform/accounts.ts'
import { createProgress, duration, type Progress } from '../platform/progress.ts'
import { attachShop, type Shop } from '../platform/start/shop.ts'
import { currentInstance } from '../platform/supervise/instance.ts'
import { statuses } from '../platform/supervise/status.ts'
import { bareCallers, bareCalls } from './bare-calls.ts'
import type { Rate } from './load.ts'
import { describeMachine, describeVersions, watchSteal } from './machine.ts'
import { openOrderLoad, orderLoad, total, type OrderRate, type Shopping } from './order-load.ts'
import { watchOutcomes } from './order-outcomes.ts'
import { readHops } from './order-trace.ts'
import { plotOrders } from './orders-plot.ts'
import { startOwnShop } from './own-shop.ts'
import { judgeOrders, number, ordersMarkdown } from './orders-report.ts'
import type { OrdersReport } from './orders-result.ts'
import { watchCpu, watchOthers } from './process-cpu.ts'
import { createShopApi } from '../platform/testing/shop-api.ts'
import { countsPerOrder, readCounts } from './sidecar-counts.ts'
import { writeResults } from './write-results.ts'

type Plan = {
  callers: number[]
  ms: number
  warmUpMs: number
  /** A load that is not measured, so that all programs are compiled. */
  warmMs: number
  bareMs: number
  thirdMs: number
  idleMs: number
  skus: number
}

const fullPlan: Plan = {
  callers: [1, 8, 32, 64],
  ms: 20_000,
  warmUpMs: 5_000,
  warmMs: 30_000,
  bareMs: 5_000,
  thirdMs: 30_000,
  idleMs: 20_000,
  skus: 200,
}
const quickPlan: Plan = {
  callers: [1, 32],
  ms: 4_000,
  warmUpMs: 1_500,
  warmMs: 10_000,
  bareMs: 1_500,
  thirdMs: 5_000,
  idleMs: 4_000,
  skus: 40,
}

const wholeCallers = 16
const hotCallers = 32
/** Of the highest rate that callers without a pause get. */
const fixedShares = [1.3, 1.15, 1, 0.9, 0.8, 0.7]

type Options = { quick?: boolean; running?: boolean; orders?: number; write?: boolean }

/**
 * Measures, prints the report and writes bench/results/orders.{json,md,svg}.
 * @param options.quick a run of about a minute that shows whether something broke, not for quoting
 * @param options.running use the shop that PORT_BASE names, which runs already
 * @param options.orders repeat the top load when this many orders are there already
 */
export async function benchOrders({
  quick = false,
  running = false,
  orders: growTo,
  write = true,
}: Options): Promise<void> {
  const began = Date.now()
  const progress = createProgress()
  const closers: (() => unknown)[] = []
  const close = async () => {
    for (const closer of closers.splice(0).toReversed()) await closer()
  }
  const interrupted = (signal: NodeJS.Signals) =>
    void close().finally(() => process.exit(signal === 'SIGINT' ? 130 : 143))
  process.once('SIGINT', interrupted).once('SIGTERM', interrupted)
  try {
    const shop = running ? await attachShop(currentInstance().instance) : await startOwnShop('bench-orders', progress)
    if (!running) closers.push(shop.stop)
    const measured = await measure(shop, quick ? quickPlan : fullPlan, progress, closers, growTo)
    const report: OrdersReport = {
      date: new Date().toISOString(),
      quick,
      seconds: Math.round((Date.now() - began) / 1_000),
      machine: describeMachine(),
      versions: describeVersions(),
      ...measured,
      targets: judgeOrders(measured),
    }
    await close()
    writeReport(report, write)
  } finally {
    await close()
    progress.close()
    process.off('SIGINT', interrupted).off('SIGTERM', interrupted)
  }
  console.error(`${duration(Date.now() - began)}${write ? '; wrote bench/results/orders.{json,md,svg}' : ''}`)
}

function writeReport(report: OrdersReport, write: boolean): void {
  const markdown = ordersMarkdown(report)
  if (write) writeResults('orders', report, { markdown, svg: plotOrders(report) })
  console.log(markdown)
}

type Measured = Omit<OrdersReport, 'date' | 'quick' | 'seconds' | 'machine' | 'versions' | 'targets'>

async function measure(
  shop: Shop,
  plan: Plan,
  progress: Progress,
  closers: (() => unknown)[],
  growTo: number | undefined,
): Promise<Measured> {
  const stolen = watchSteal()
  const api = createShopApi(`http://127.0.0.1:${shop.ports.api}`)
  closers.push(api.close)
  const outcomes = await watchOutcomes(shop.urls.kafkaBrokers)
  closers.push(outcomes.close)

  const callers = Math.max(...plan.callers)
  const shoppers: string[] = []
  const skus: string[] = []
  let hotSku = ''
  await progress.step({ title: `${callers} shoppers, ${plan.skus} products` }, async () => {
    const { admin } = await ensureDemoLogin(shop)
    const token = await api.logIn(admin.email, admin.password)
    // One at a time: each costs two password hashes.
    while (shoppers.length < callers) shoppers.push(await api.shopper())
    const units = 100_000_000
    hotSku = await api.product(token, units)
    await inTurns(plan.skus, 4, async () => void skus.push(await api.product(token, units)))
  })
  const pick = () => skus[Math.floor(Math.random() * skus.length)]!
  const lines = (count: number) => () => {
    const chosen = new Set<string>()
    while (chosen.size < count) chosen.add(pick())
    return [...chosen].map((sku) => ({ sku, quantity: 1 }))
  }
  const shopping = (ordered: Shopping['lines']): Shopping => ({ api, outcomes, shoppers, lines: ordered })
  const single = shopping(lines(1))

  const processes = async () => [
    ...(await statuses(shop.paths)).filter(({ pid }) => pid > 0),
    { name: 'the load itself', pid: process.pid },
  ]
  const metrics = Object.values(shop.ports.services).flatMap((own) => [own.daprMetrics, ...own.components])
  const step = <T>(title: string, work: () => Promise<T>, describe: (result: T) => string) =>
    progress.step({ title }, async (note) => {
      const result = await work()
      note(describe(result))
      return result
    })
  const orders = (title: string, load: () => Promise<OrderRate>) =>
    step(
      title,
      async () => {
        const share = watchOthers(await processes())
        const rate = await load()
        const others = share()
        return { ...rate, ...(others === undefined ? {} : { others }) }
      },
      describeRate,
    )
  /** A load with what it cost, from its first order to its last one's end. */
  const costed = async (load: () => Promise<OrderRate>) => {
    const cpu = watchCpu(await processes())
    const counts = await readCounts(metrics)
    const rate = await load()
    const used = cpu()
    return { rate, used, counts: countsPerOrder(counts, await readCounts(metrics), rate.orders) }
  }

  await step(
    'idle',
    () => sleep(plan.idleMs / 4),
    () => '',
  )
  const idle = await step(
    'idle',
    async () => {
      const cpu = watchCpu(await processes())
      const from = performance.now()
      await sleep(plan.idleMs)
      const available = ((performance.now() - from) / 1_000) * describeMachine().cores
      const used = cpu()
        .filter(({ name }) => name !== 'the load itself')
        .map(({ name, seconds }) => ({ name, share: seconds / available }))
      return { share: used.reduce((sum, { share }) => sum + share, 0), processes: used.slice(0, 10) }
    },
    ({ share }) => `${number(share * 100)}% of all cores`,
  )

  const measureBare = () =>
    step(`bare calls through two sidecars, ${bareCallers} callers`, () => bareCalls(shop, plan.bareMs), describeBare)
  const loop = (callers: number, more: { waits?: boolean; of?: Shopping } = {}) =>
    orderLoad(more.of ?? single, { callers, ms: plan.ms, warmUpMs: plan.warmUpMs, waits: more.waits ?? false })

  const openLoop = (perSecond: number, ms = plan.ms) =>
    openOrderLoad(single, { perSecond, ms, warmUpMs: plan.warmUpMs })

  await orders('a load to warm up', () => orderLoad(single, { callers: hotCallers, ms: plan.warmMs, warmUpMs: 0 }))
  const before = await measureBare()
  const alone = await orders('one order at a time', () => loop(1, { waits: true }))
  const hops = await progress.step({ title: "one order's trace" }, () => readHops(single, shop.ports.jaegerQuery))
  const uniform = []
  for (const callers of plan.callers) {
    const title = `orders, ${callers} ${callers === 1 ? 'caller' : 'callers'}`
    uniform.push(await costed(() => orders(title, () => loop(callers))))
  }
  const whole = await costed(() =>
    orders(`orders, ${wholeCallers} callers that wait for CONFIRMED`, () => loop(wholeCallers, { waits: true })),
  )
  // Callers without a pause push the shop to its limit, where as many orders wait as it lets wait.
  // What it sustains is found by orders that start at a fixed rate, a little lower each time.
  const most = Math.max(...[...uniform, whole].map(({ rate }) => rate.confirmedPerSecond))
  const fixed = []
  for (const share of fixedShares) {
    const perSecond = most * share
    fixed.push(await costed(() => orders(`orders at a fixed rate, ${number(perSecond)}/s`, () => openLoop(perSecond))))
    if (fixed.at(-1)!.rate.sustained) break
  }
  const hot = await orders(`one hot SKU, ${hotCallers} callers`, () =>
    loop(hotCallers, { of: shopping(() => [{ sku: hotSku, quantity: 1 }]) }),
  )
  const tenLines = await orders(`ten lines an order, ${hotCallers} callers`, () =>
    loop(hotCallers, { of: shopping(lines(10)) }),
  )

  const sustained = [...uniform, whole, ...fixed].filter(({ rate }) => rate.sustained)
  const top = sustained.toSorted((a, b) => b.rate.confirmedPerSecond - a.rate.confirmedPerSecond)[0] ?? whole
  const perSecond = top.rate.confirmedPerSecond / 3
  const third = await orders(`orders at a third of the top rate, ${number(perSecond)}/s`, () =>
    openLoop(perSecond, plan.thirdMs),
  )
  const after = await measureBare()

  let growth: Measured['growth']
  if (growTo !== undefined) {
    await progress.step({ title: `${growTo} orders` }, async (note) => {
      while (outcomes.confirmed.size < growTo) {
        await orderLoad(single, { callers: hotCallers, ms: 30_000, warmUpMs: 0 })
        note(`${outcomes.confirmed.size} are there`)
      }
    })
    const { callers, waits, startedPerSecond } = top.rate
    const rate = await orders(`the top load again, with ${growTo} orders there`, () =>
      startedPerSecond === undefined ? loop(callers, { waits }) : openLoop(startedPerSecond),
    )
    growth = { orders: outcomes.confirmed.size, rate }
  }

  const share = stolen()
  const loadSeconds = top.used.find(({ name }) => name === 'the load itself')?.seconds ?? 0
  const perOrder = (seconds: number) => (1_000 * seconds) / top.rate.orders
  const ofShop = top.used.filter(({ name }) => name !== 'the load itself')
  return {
    bare: [before, after],
    alone,
    uniform: uniform.map(({ rate }) => rate),
    whole: whole.rate,
    hot,
    tenLines,
    fixed: fixed.map(({ rate }) => rate),
    top: top.rate,
    third,
    cpu: {
      perOrderMs: perOrder(ofShop.reduce((sum, { seconds }) => sum + seconds, 0)),
      loadMs: perOrder(loadSeconds),
      processes: ofShop.map(({ name, seconds }) => ({ name, milliseconds: perOrder(seconds) })),
    },
    counts: top.counts,
    idle,
    hops,
    ...(growth ? { growth } : {}),
    ...(share === undefined ? {} : { stolen: share }),
  }
}

const describeBare = ({ perSecond, p99Ms }: Rate) => `${number(perSecond)}/s, p99 ${number(p99Ms)} ms`

function describeRate(rate: OrderRate): string {
  const { confirmedPerSecond, placedPerSecond, latency, backlog, sustained, pushedBack, failures } = rate
  return [
    `${number(confirmedPerSecond)} CONFIRMED/s (${number(placedPerSecond)} placed/s)`,
    `to CONFIRMED p50 ${number(latency.p50Ms)} ms, p99 ${number(latency.p99Ms)} ms`,
    ...(sustained ? [] : [`not sustained: ${backlog} waiting at the end`]),
    ...(total(pushedBack) > 0 ? [`503: ${JSON.stringify(pushedBack)}`] : []),
    ...(rate.others !== undefined && rate.others > 0.1
      ? [`other programs had ${Math.round(rate.others * 100)}% of all cores`]
      : []),
    ...(total(failures) > 0 ? [`failed: ${JSON.stringify(failures)}`] : []),
  ].join(', ')
}

async function inTurns(count: number, limit: number, work: () => Promise<void>): Promise<void> {
  const left = Array.from({ length: count }).values()
  await Promise.all(
    Array.from({ length: limit }, async () => {
      for (const _ of left) await work()
    }),
  )
}
