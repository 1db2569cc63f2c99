import type { Rate } from './load.ts'
import { contenderNames, contenderTitles, type ContenderName } from './contender.ts'
import type { DatabaseName, Growth, Measured, OutboxReport, Ratio } from './outbox-result.ts'

/** Computes the run's ratios, each with its target. */
export function judge({ results }: Pick<OutboxReport, 'results'>): Ratio[] {
  return databases(results).flatMap(([database, { latency, throughReplica, eventsPerSecond, transactions, gets }]) => {
    const ratio = (what: string, value: number, bar: number): Ratio => ({
      database,
      what,
      value,
      bar,
      met: value >= bar,
    })
    return [
      ratio('commit to consumer, p99: built-in outbox / Sidecart', latency.builtin.p99Ms / latency.ours.p99Ms, 40),
      ratio(
        'the same, committed through another replica than the leader',
        latency.builtin.p99Ms / throughReplica.usual.p99Ms,
        40,
      ),
      ratio('events per second: Sidecart / built-in outbox', eventsPerSecond.ours / eventsPerSecond.builtin, 200),
      ...transactions.ours.map((ours, i) =>
        ratio(
          `transactions, callers ${ours.callers}: Sidecart / driver only`,
          ours.perSecond / transactions.driver[i]!.perSecond,
          0.5,
        ),
      ),
      ratio("get, 32 callers: Sidecart / Dapr's own component", gets.ours.perSecond / gets.dapr.perSecond, 1),
    ]
  })
}

export function databases(results: OutboxReport['results']): [DatabaseName, Measured][] {
  return Object.entries(results) as [DatabaseName, Measured][]
}

/** Writes the report as Markdown: ratios first, then the figures behind them, then the method. */
export function outboxMarkdown(report: OutboxReport): string {
  const { machine, versions, durability, openRates } = report
  const ratios = table(
    ['database', 'ratio', 'measured', 'target', ''],
    report.ratios.map(({ database, what, value, bar, met }) => [
      database,
      what,
      number(value),
      `at least ${bar}`,
      met ? 'met' : '**missed**',
    ]),
  )
  const sections = databases(report.results).map(
    ([database, measured]) =>
      `## ${database}\n\n${figures(measured, openRates)}${replica(measured)}${growth(measured)}`,
  )
  const list = (of: Record<string, string>) =>
    Object.entries(of)
      .map(([name, value]) => `${name} ${value}`)
      .join(', ')
  const { cores, model, memoryGiB, system } = machine
  return [
    '# Outbox benchmark',
    `${report.date.slice(0, 16).replace('T', ' ')} UTC, ${cores} cores (${model}), ${memoryGiB} GiB, ${system}.\n` +
      'Everything ran on this one machine, so compare ratios rather than absolute figures.' +
      (report.quick ? '\n\n**A quick run: it shows whether something broke, and is too short to quote.**' : ''),
    ratios,
    ...missed(report),
    '![plot](outbox.svg)',
    ...sections,
    '## Method',
    [
      method,
      ...Object.entries(durability).map(([name, settings]) => `- ${name}: ${list(settings ?? {})}`),
      `- ${list(versions)}. The run took ${report.seconds} s.`,
    ].join('\n'),
    '',
  ].join('\n\n')
}

const method = `\
- **built-in outbox**: Dapr's \`state.mysql\` or \`state.mongodb\` with \`outboxPublishPubsub\`.
- **Sidecart**: \`state.outbox-mysql\` or \`state.outbox-mongodb\` behind the same sidecar.
- **driver only**: the database's driver and kafkajs in the caller's process, without a sidecar: the
  same state upsert and outbox insert in one transaction. Where events are counted, it sends one
  message after each commit, which a crash in between would lose.
- Each transaction is one upsert of about 700 bytes and its event, cycling through 1,000 keys. Topics
  have 6 partitions; one kafkajs consumer reads each.
- Commit to consumer: from the commit's response at the caller to the event at the consumer.
  Transactions start at a fixed rate, however long each takes. "From the call" starts before the
  transaction.
- Rates: each caller waits for its response. Rounds of Sidecart and driver only alternate, and the
  median round counts. The relay publishes during its rounds, and every event is waited for.
- A store that does nothing: the same calls through the same sidecar to a pluggable component that
  responds at once. It shows what the sidecar, gRPC and the caller leave to any store.
- Events per second: a burst by 32 callers, from the first transaction to the last arrival. For the
  built-in outbox: what arrives while more is waiting.`

/** Explains the known misses with the figures of this run. */
function missed({ ratios, results }: OutboxReport): string[] {
  const lines = databases(results).flatMap(([database, { transactions, eventsPerSecond }]) => {
    const misses = (what: string) =>
      ratios.some((ratio) => ratio.database === database && !ratio.met && ratio.what.startsWith(what))
    const shares = transactions.nothing.map(
      ({ callers, perSecond }, i) => `${number(perSecond / transactions.driver[i]!.perSecond)} (${callers})`,
    )
    return [
      ...(misses('transactions')
        ? [
            `- ${database}, transactions: the sidecar, gRPC and the caller share the machine's cores with the store.`,
            `  A store that does nothing behind them reaches ${shares.join(', ')} of driver only (callers).`,
            '  With few callers there is also little to commit as a group.',
          ]
        : []),
      ...(misses('events')
        ? [`- ${database}, events: driver and kafkajs alone publish ${number(eventsPerSecond.driver)}/s here.`]
        : []),
    ]
  })
  return lines.length > 0 ? [`Targets not met, and why:\n\n${lines.join('\n')}`] : []
}

function figures(
  { latency, eventsPerSecond, transactions, gets, stolen }: Measured,
  openRates: Record<ContenderName, number>,
): string {
  const names = contenderNames
  const rate = (found: Rate | undefined) =>
    found ? number(found.perSecond) + (found.failed > 0 ? ` (${found.failed} failed)` : '') : ''
  return table(
    ['', ...names.map((name) => contenderTitles[name])],
    [
      ['transactions/s for the next four rows', ...names.map((name) => String(openRates[name]))],
      ['commit to consumer, p50 ms', ...names.map((name) => number(latency[name].p50Ms))],
      [
        'commit to consumer, p99 ms',
        ...names.map((name) => `${number(latency[name].p99Ms)} (of ${latency[name].count})`),
      ],
      ['from the call, p50 ms', ...names.map((name) => number(latency[name].fromCall.p50Ms))],
      ['from the call, p99 ms', ...names.map((name) => number(latency[name].fromCall.p99Ms))],
      ['events/s at the consumer', ...names.map((name) => number(eventsPerSecond[name]))],
      ...transactions.ours.map(({ callers }, i) => [
        `transactions/s, callers: ${callers}`,
        ...names.map((name) => rate(transactions[name][i])),
      ]),
      ...transactions.nothing.map((found) => [
        `the same to a store that does nothing, callers: ${found.callers}`,
        '',
        rate(found),
        '',
      ]),
      ...transactions.ours.map(({ callers }, i) => [
        `p99 ms, callers: ${callers}`,
        ...names.map((name) => number(transactions[name][i]?.p99Ms ?? Number.NaN)),
      ]),
      ...(stolen === undefined
        ? []
        : [['share of CPU time that the host gave to others', `${Math.round(stolen * 100)}%`, '', '']]),
      ["get/s, 32 callers (built-in: Dapr's component)", rate(gets.dapr), rate(gets.ours), ''],
    ],
  )
}

function replica({ throughReplica }: Measured): string {
  const rows = Object.values(throughReplica).map(({ transactionsPerSecond, p50Ms, p99Ms, maxMs, count }) => [
    `${transactionsPerSecond}`,
    number(p50Ms),
    `${number(p99Ms)} (of ${count})`,
    number(maxMs),
  ])
  const head = ['transactions/s', 'p50 ms', 'p99 ms', 'max ms']
  return `\n\nCommit to consumer where another replica relays, Sidecart:\n\n${table(head, rows)}`
}

function growth({ growth }: Measured): string {
  if (!growth) return ''
  const rows = (of: Growth[], unit: string) =>
    of.map(({ at, ours, driver }) => [
      `${at.toLocaleString('en')} ${at === 1 ? unit.replace(/s$/, '') : unit}`,
      number(ours.perSecond),
      number(driver.perSecond),
      number(ours.perSecond / driver.perSecond),
    ])
  const head = ['', 'Sidecart, tx/s', 'driver only, tx/s', 'ratio']
  const all = [...rows(growth.keys, 'keys'), ...rows(growth.bytes, 'bytes per value')]
  return `\n\nBy number of keys and size of value, 32 callers:\n\n${table(head, all)}`
}

export const table = (head: string[], rows: string[][]) =>
  [head, head.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n')

/** Formats a number with three significant digits. */
export function number(value: number): string {
  if (!Number.isFinite(value)) return ''
  return value >= 100 ? Math.round(value).toLocaleString('en') : String(Number(value.toPrecision(3)))
}
