// Writes what the benchmark of orders measured as Markdown, and judges it by the targets.
import type { Rate } from './load.ts'
import { total, type OrderRate } from './order-load.ts'
import { number, table } from './outbox-report.ts'
import type { OrdersReport } from './orders-result.ts'
import { hopsOf } from './sidecar-counts.ts'
import { target, targetTable, type Target } from './targets.ts'

type Measured = Pick<OrdersReport, 'bare' | 'uniform' | 'alone' | 'hot' | 'top' | 'third' | 'cpu' | 'idle' | 'growth'>

/** Computes what every change is held to. */
export function judgeOrders(measured: Measured): Target[] {
  const { bare, uniform, alone, hot, top, third, cpu, idle, growth } = measured
  const most = uniform.at(-1)!
  const beside = uniform.find(({ callers }) => callers === hot.callers) ?? most
  const under = (unit: string) => ({ unit, atMost: true })
  return [
    target('orders CONFIRMED, sustained / bare calls', top.confirmedPerSecond / bareRate(bare), 0.1),
    target('POST to CONFIRMED at a third of it, p99', third.latency.p99Ms, 1_000, under('ms')),
    target('one order alone, p50', alone.latency.p50Ms, 200, under('ms')),
    target('one hot SKU / uniform SKUs', hot.confirmedPerSecond / beside.confirmedPerSecond, 0.5),
    target(`POST to CONFIRMED, ${most.callers} callers without a pause, p99`, most.latency.p99Ms, 3_000, under('ms')),
    target('CPU of an order', cpu.perOrderMs, 16, under('ms')),
    target('idle, of all cores', idle.share * 100, 6.5, under('%')),
    ...(growth
      ? [
          target(
            `the same load with ${growth.orders.toLocaleString('en')} orders there / at first`,
            growth.rate.confirmedPerSecond / top.confirmedPerSecond,
            0.8,
          ),
        ]
      : []),
  ]
}

/** The mean of the runs before and after. */
const bareRate = (bare: Rate[]) => bare.reduce((sum, { perSecond }) => sum + perSecond, 0) / bare.length

/** Writes the report as Markdown: targets first, then the figures behind them, then the method. */
export function ordersMarkdown(report: OrdersReport): string {
  const { machine, versions, targets, top } = report
  const { cores, model, memoryGiB, system } = machine
  return [
    '# Benchmark of orders',
    `${report.date.slice(0, 16).replace('T', ' ')} UTC, ${cores} cores (${model}), ${memoryGiB} GiB, ${system}.\n` +
      'Everything ran on this one machine, the callers included, so compare ratios rather than absolute figures.' +
      (report.quick ? '\n\n**A quick run: it shows whether something broke, and is too short to quote.**' : ''),
    targetTable(targets),
    `Top rate: ${number(top.confirmedPerSecond)} orders CONFIRMED/s, sustained, ${describeLoad(top)}.`,
    '![plot](orders.svg)',
    '## Rates',
    rates(report),
    '## What an order costs',
    costs(report),
    '## Cores, by this arithmetic',
    coresAt(report),
    '## Method',
    `${method}\n- ${Object.entries(versions)
      .map(([name, value]) => `${name} ${value}`)
      .join(', ')}. The run took ${report.seconds} s.`,
    '',
  ].join('\n\n')
}

function describeLoad({ callers, waits, startedPerSecond }: OrderRate): string {
  if (startedPerSecond !== undefined) return `started at ${number(startedPerSecond)}/s`
  return `${callers} ${callers === 1 ? 'caller' : 'callers'}${waits ? ' that wait for CONFIRMED' : ''}`
}

function rates({ bare, uniform, fixed, alone, whole, hot, tenLines, third, growth, stolen }: OrdersReport): string {
  const row = (name: string, rate: OrderRate) => [
    name,
    number(rate.confirmedPerSecond),
    rate.sustained ? 'yes' : `no: ${rate.backlog} waiting, ${number(rate.drainMs / 1_000)} s`,
    number(rate.placedPerSecond),
    number(rate.response.p50Ms),
    number(rate.latency.p50Ms),
    number(rate.latency.p99Ms),
    String(total(rate.pushedBack)),
    String(total(rate.failures)),
    rate.others === undefined ? '' : `${Math.round(rate.others * 100)}%`,
  ]
  const head = ['', 'CONFIRMED/s', 'sustained', 'placed/s', 'response p50 ms', 'to CONFIRMED p50 ms', 'p99 ms']
  const rows = [
    ...uniform.map((rate) => row(describeLoad(rate), rate)),
    row('one order at a time', alone),
    row(describeLoad(whole), whole),
    ...fixed.map((rate) => row(describeLoad(rate), rate)),
    row(`one hot SKU, ${hot.callers} callers`, hot),
    row(`ten lines an order, ${tenLines.callers} callers`, tenLines),
    row(describeLoad(third), third),
    ...(growth ? [row(`with ${growth.orders.toLocaleString('en')} orders there`, growth.rate)] : []),
  ]
  const bareRates = bare.map(({ perSecond, p99Ms }) => `${number(perSecond)}/s, p99 ${number(p99Ms)} ms`)
  const all = [...uniform, ...fixed, alone, whole, hot, tenLines, third]
  const reasons = (of: (rate: OrderRate) => Record<string, number>) =>
    all.flatMap((rate) => Object.entries(of(rate)).map(([reason, count]) => `${count} × ${reason}`)).join(', ')
  const failures = reasons((rate) => rate.failures)
  const pushedBack = reasons((rate) => rate.pushedBack)
  return [
    table([...head, '503', 'failed', 'others'], rows),
    `Bare calls by ${bare[0]!.callers} callers: ${bareRates.join(', and after the loads ')}.`,
    ...(pushedBack ? [`503, load by load: ${pushedBack}.`] : []),
    ...(failures ? [`Failed: ${failures}.`] : []),
    ...(stolen === undefined ? [] : [`The host gave ${Math.round(stolen * 100)}% of the processors to others.`]),
  ].join('\n\n')
}

function costs({ cpu, counts, hops, idle }: OrdersReport): string {
  const processes = cpu.processes
    .filter(({ milliseconds }) => milliseconds >= 0.05)
    .map(({ name, milliseconds }) => [
      name,
      number(milliseconds),
      `${number(100 * (idle.processes.find((other) => other.name === name)?.share ?? 0))}%`,
    ])
  return [
    `${number(cpu.perOrderMs)} ms of CPU in the load of the top rate, and ${number(cpu.loadMs)} ms of the callers'.`,
    table(
      ['of each order, in that load', 'count'],
      [
        ['gRPC hops', number(hopsOf(counts))],
        ['calls from service to service, 3 hops each', number(counts.serviceCalls)],
        ['calls of sidecars by their services', number(counts.sidecarCalls)],
        ['deliveries of one event or many', number(counts.deliveries)],
        ['events delivered', number(counts.delivered)],
        ['time until an event delivered is handled', `${number(counts.deliveryMs / counts.delivered)} ms`],
        ['calls of components', number(counts.componentCalls)],
        ['transactions of the stores', number(counts.transactions)],
        ['events published', number(counts.events)],
        ...(hops ? [['spans of one order alone', String(hops.total)]] : []),
      ],
    ),
    table(['process', 'CPU ms an order', 'idle, of all cores'], processes),
    ...(hops
      ? [
          `Spans by process: ${Object.entries(hops.byService)
            .map(([name, count]) => `${name} ${count}`)
            .join(', ')}.`,
        ]
      : []),
  ].join('\n\n')
}

/** What a process is, by its name; undefined if it is not the shop's own. */
function groupOf(name: string): string | undefined {
  if (['jaeger', 'mailbox', 'payment-sandbox', 'sentry'].includes(name)) return undefined
  if (['kafka', 'mysql', 'mongodb'].includes(name)) return name
  if (name.endsWith('-dapr')) return 'sidecars'
  if (/-(outbox|bindings)-/.test(name)) return 'components'
  return name === 'edge' || name === 'gateway' ? 'edge and gateway' : 'services'
}

/** The sum that docs/scaling.md reads off: milliseconds of an order times orders a second. */
function coresAt({ cpu }: OrdersReport): string {
  const groups = Map.groupBy(cpu.processes, ({ name }) => groupOf(name))
  const rows = [...groups].flatMap(([group, processes]): [string, number][] =>
    group === undefined ? [] : [[group, processes.reduce((sum, { milliseconds }) => sum + milliseconds, 0)]],
  )
  const sum: [string, number] = ['all', rows.reduce((total, [, ms]) => total + ms, 0)]
  const cells = ([group, ms]: [string, number]) => [group, number(ms), number(15 * ms), number(30 * ms)]
  return [
    'The CPU of an order above, times orders a second: what was measured at the top rate, and not more.',
    'Without the payment provider, Jaeger and sentry.',
    '',
    table(
      ['', 'CPU ms an order', 'cores for 15,000 orders/s', 'for 30,000'],
      [...rows.toSorted(([, a], [, b]) => b - a), sum].map(cells),
    ),
  ].join('\n')
}

const method = `\
- The whole shop, started empty for the run: POST through the edge, the gateway and two sidecars; each
  order is CONFIRMED by its saga, with the payment provider's sandbox.
- **CONFIRMED/s** counts orders whose order-confirmed event arrived in the measured time, after an unmeasured
  start. **Sustained**: the orders accepted and not terminal at its end are no more than a second's
  work. Otherwise how many waited, and how long they took.
- **To CONFIRMED**: from before the POST to the event at a consumer.
- Callers place their next order when the last is answered, and wait as long as Retry-After says on
  503; "that wait for CONFIRMED" place it when the last is terminal. "Started at": at this rate,
  however long each takes.
- Others: the share of all cores that other programs had meanwhile, those that supervise included. A rate
  with more than a tenth says little.
- Ten lines: ten SKUs, one of each. Each caller is a shopper of their own.
- **Bare calls**: \`GetAvailability\` of no SKU, from the gateway's sidecar through inventory's to inventory,
  which reads nothing.
- CPU: each process' user and system time from the load's first request until its last order is terminal.`

export { number }
