import type { Rate } from './load.ts'
import type { Machine } from './machine.ts'
import type { Growth, Measured } from './outbox.ts'
import type { DatabaseName } from './outbox-setup.ts'
import type { WayName } from './outbox-path.ts'

export type Ratio = { database: DatabaseName; what: string; value: number; bar: number; met: boolean }

export type OutboxReport = {
  date: string
  quick: boolean
  seconds: number
  machine: Machine
  versions: Record<string, string>
  durability: Partial<Record<DatabaseName | 'kafka', Record<string, string>>>
  openRates: Record<WayName, number>
  results: Partial<Record<DatabaseName, Measured>>
  ratios: Ratio[]
}

/** The run's ratios beside the bars that every change is held to. */
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
      ratio('commit to consumer, p99: built-in outbox / ours', latency.builtin.p99Ms / latency.ours.p99Ms, 40),
      ratio('the same, ours committed through another replica', latency.builtin.p99Ms / throughReplica.usual.p99Ms, 40),
      ratio('events per second: ours / built-in outbox', eventsPerSecond.ours / eventsPerSecond.builtin, 200),
      ...transactions.ours.map((ours, i) =>
        ratio(
          `transactions by ${ours.callers} at once: ours / driver alone`,
          ours.perSecond / transactions.plain[i]!.perSecond,
          0.5,
        ),
      ),
      ratio("get, 32 callers: ours / Dapr's own component", gets.ours.perSecond / gets.dapr.perSecond, 1),
    ]
  })
}

export function databases(results: OutboxReport['results']): [DatabaseName, Measured][] {
  return Object.entries(results) as [DatabaseName, Measured][]
}

/**
 * The report as a page: ratios first, then what they are made of, then with what and how it was
 * measured.
 */
export function outboxMarkdown(report: OutboxReport): string {
  const { machine, versions, durability, openRates } = report
  const ratios = table(
    ['database', 'ratio', 'measured', 'bar', ''],
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
  return [
    '# The outbox, measured',
    `${report.date.slice(0, 16).replace('T', ' ')} UTC, ${machine.cores} cores (${machine.model}), ${machine.memoryGiB} GiB, ${machine.system}; everything on this one machine, so it is the ratios that carry over.` +
      (report.quick ? '\n\n**A quick run: good for seeing that something broke, too short to quote.**' : ''),
    ratios,
    '![plot](outbox.svg)',
    ...sections,
    '## How it was measured',
    [
      `- **builtin**: Dapr's \`state.mysql\` / \`state.mongodb\` with \`outboxPublishPubsub\`; **ours**: \`state.outbox-mysql\` / \`state.outbox-mongodb\` behind the same sidecar; **plain**: the database's driver and kafkajs in the caller's process,`,
      '  without sidecar: the same state upsert and outbox insert in a transaction (and, where events are counted, a send of one message after each commit: what a crash in between would lose).',
      '- One upsert of about 700 bytes and its event a transaction, 1,000 keys in turn, topics of 6 partitions, one plain kafkajs consumer a topic.',
      '- Commit to consumer: from the commit\'s answer at the caller to the event at the consumer; arrivals at a fixed rate, however long each takes. "From the call" begins before the transaction.',
      '- Rates: callers that each wait for their answer; ours and plain in turns, the round in the middle counts. Our relay publishes during its rounds; every event of ours is waited for.',
      '- A store that does nothing: the same calls through the same sidecar to a pluggable component that answers at once, so what sidecar, gRPC and caller leave to any store.',
      '- Events per second: a burst by 32 callers, from the first transaction to the last arrival; for the built-in outbox, what arrives while more is waiting.',
      ...Object.entries(durability).map(([name, settings]) => `- ${name}: ${list(settings)}`),
      `- ${list(versions)}; the run took ${report.seconds} s.`,
    ].join('\n'),
    '',
  ].join('\n\n')
}

function figures(
  { latency, eventsPerSecond, transactions, gets, stolen }: Measured,
  openRates: Record<WayName, number>,
): string {
  const names = ['builtin', 'ours', 'plain'] as const
  const rate = (found: Rate | undefined) =>
    found ? number(found.perSecond) + (found.failed > 0 ? ` (${found.failed} failed)` : '') : ''
  return table(
    ['', ...names],
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
        : [['share of the processors that the host gave to others', `${Math.round(stolen * 100)}%`, '', '']]),
      ["get/s, 32 callers (builtin: Dapr's component)", rate(gets.dapr), rate(gets.ours), ''],
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
  return `\n\nCommit to consumer where another replica relays, ours:\n\n${table(['transactions/s', 'p50 ms', 'p99 ms', 'longest ms'], rows)}`
}

function growth({ growth }: Measured): string {
  if (!growth) return ''
  const rows = (of: Growth[], unit: string) =>
    of.map(({ at, ours, plain }) => [
      `${at.toLocaleString('en')} ${unit}`,
      number(ours.perSecond),
      number(plain.perSecond),
      number(ours.perSecond / plain.perSecond),
    ])
  return `\n\nHow it grows, 32 callers:\n\n${table(['', 'ours, tx/s', 'plain, tx/s', 'ratio'], [...rows(growth.keys, 'keys'), ...rows(growth.bytes, 'bytes a value')])}`
}

const table = (head: string[], rows: string[][]) =>
  [head, head.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n')

/** Three digits that say something. */
export function number(value: number): string {
  if (!Number.isFinite(value)) return ''
  return value >= 100 ? Math.round(value).toLocaleString('en') : String(Number(value.toPrecision(3)))
}
