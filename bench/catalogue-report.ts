// Writes what the benchmark of the catalogue measured as Markdown, and judges it by the targets.
import type { CatalogueReport, Read, Size } from './catalogue-result.ts'
import { number, table } from './outbox-report.ts'
import { target, targetTable, type Target } from './targets.ts'

const count = (products: number) => products.toLocaleString('en')

/** Computes what every change is held to. */
export function judgeCatalogue(sizes: Size[]): Target[] {
  const [first, last] = [sizes[0]!, sizes.at(-1)!]
  const rate = (kind: string) => last.reads.find((read) => read.kind === kind)?.perSecond ?? Number.NaN
  const grown =
    first === last
      ? []
      : last.reads.flatMap((read) => {
          const before = first.reads.find(({ kind }) => kind === read.kind)
          const what = `${read.kind}, p99: ${count(last.products)} / ${count(first.products)} products`
          return before ? [target(what, read.p99Ms / before.p99Ms, 1.5, { atMost: true })] : []
        })
  return [
    ...grown,
    target('product by id, uncached / bare calls', rate('product by id') / last.bare.perSecond, 0.5),
    target('category page, uncached / bare calls', rate('category page') / last.bare.perSecond, 0.3),
    ...(last.edge
      ? [
          target('hot pages at the edge / a static file', last.edge.hot.perSecond / last.edge.file.perSecond, 0.7),
          target('hot pages at the edge', last.edge.hot.perSecond, 30_000, { unit: '/s' }),
          target('the same, p99', last.edge.hot.p99Ms, 20, { unit: 'ms', atMost: true }),
        ]
      : []),
    target('seed', last.seed.perSecond, 1_500, { unit: 'products/s' }),
    ...(last.startSeconds === undefined
      ? []
      : [target('start with these products', last.startSeconds, 30, { unit: 's', atMost: true })]),
  ]
}

/** Writes the report: targets first, then the figures behind them, then the method. */
export function catalogueMarkdown(report: CatalogueReport): string {
  const { machine, versions, targets, sizes } = report
  const { cores, model, memoryGiB, system } = machine
  return [
    '# Benchmark of the catalogue',
    `${report.date.slice(0, 16).replace('T', ' ')} UTC, ${cores} cores (${model}), ${memoryGiB} GiB, ${system}.\n` +
      'Everything ran on this one machine, the callers included, so compare ratios rather than absolute figures.' +
      (report.quick ? '\n\n**A quick run: it shows whether something broke, and is too short to quote.**' : ''),
    targetTable(targets),
    '![plot](catalogue.svg)',
    '## Reads',
    reads(sizes),
    '## CPU of a request by process',
    cpuOf(sizes.at(-1)!.reads),
    '## Writes, memory, start',
    writes(sizes),
    '## Method',
    `${method}\n- ${Object.entries(versions)
      .map(([name, value]) => `${name} ${value}`)
      .join(', ')}. The run took ${report.seconds} s.`,
    '',
  ].join('\n\n')
}

function reads(sizes: Size[]): string {
  const head = ['', ...sizes.flatMap(({ products }) => [`${count(products)} products: /s`, 'p50 ms', 'p99 ms'])]
  const figures = ({
    perSecond,
    p50Ms,
    p99Ms,
    failed,
  }: {
    perSecond: number
    p50Ms: number
    p99Ms: number
    failed: number
  }) => [`${number(perSecond)}${failed > 0 ? ` (${failed} failed)` : ''}`, number(p50Ms), number(p99Ms)]
  const row = (name: string, of: (size: Size) => Parameters<typeof figures>[0] | undefined) => [
    name,
    ...sizes.flatMap((size) => {
      const found = of(size)
      return found ? figures(found) : ['', '', '']
    }),
  ]
  const kinds = sizes.at(-1)!.reads.map(({ kind }) => kind)
  return table(head, [
    ...kinds.map((kind) => row(kind, (size) => size.reads.find((read) => read.kind === kind))),
    row('bare calls', ({ bare }) => bare),
    row('hot pages at the edge', ({ edge }) => edge?.hot),
    row('a static file from nginx', ({ edge }) => edge?.file),
  ])
}

function cpuOf(all: Read[]): string {
  const names = [...new Set(all.flatMap(({ cpu }) => cpu.map(({ name }) => name)))]
  const of = (read: Read, name: string) => read.cpu.find((each) => each.name === name)?.milliseconds ?? 0
  const shown = names.filter((name) => all.some((read) => of(read, name) >= 0.02))
  const sum = (read: Read) => read.cpu.reduce((total, { milliseconds }) => total + milliseconds, 0)
  return table(
    ['ms', ...shown, 'all'],
    all.map((read) => [read.kind, ...shown.map((name) => number(of(read, name))), number(sum(read))]),
  )
}

function writes(sizes: Size[]): string {
  const megabytes = (bytes: number) => String(Math.round(bytes / 2 ** 20))
  const largest = sizes.at(-1)!
  const processes = largest.memory.filter(({ bytes }) => bytes > 0).map(({ name }) => name)
  return [
    table(
      ['', 'added', 'products/s', 'found after, s', 'start, s'],
      sizes.map(({ products, seed, startSeconds }) => [
        `${count(products)} products`,
        count(seed.added),
        number(seed.perSecond),
        number(seed.indexedAfterSeconds),
        startSeconds === undefined ? '' : number(startSeconds),
      ]),
    ),
    table(
      ['process', ...sizes.map(({ products }) => `MiB at ${count(products)}`), 'CPU ms of a product seeded'],
      processes.map((name) => [
        name,
        ...sizes.map(({ memory }) => megabytes(memory.find((each) => each.name === name)?.bytes ?? 0)),
        number(largest.seed.cpu.find((each) => each.name === name)?.milliseconds ?? 0),
      ]),
    ),
  ].join('\n\n')
}

const method = `\
- The whole shop, started empty for the run, and seeded by \`npm run seed\` through the edge.
- Reads go to the gateway, past the edge and its cache: 16 callers without a pause, each read of another
  product, category, word or filter, chosen at random. "Deep" follows the cursors first.
- **Bare calls**: \`GetAvailability\` of no SKU, from the gateway's sidecar through inventory's to inventory,
  which reads nothing; 32 callers.
- **Hot pages**: wrk with 64 connections; half of the pages are products, half are categories; 99% of the
  requests go to 1% of them, the rest to all others. Misses count. The static file has the mean size of
  those responses, from the same nginx without a log.
- **Found after**: from the end of the upload until catalog and search have handled every event.
- CPU: each process' user and system time, divided by the requests.`
