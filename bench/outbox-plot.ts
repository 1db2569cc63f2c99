// The report as a picture: of each database the ways' latencies and event rates as bars, and the
// transactions by callers as lines.
import type { Measured } from './outbox.ts'
import { databases, number, type OutboxReport } from './outbox-report.ts'
import type { WayName } from './outbox-path.ts'

const colours: Record<WayName, string> = { builtin: '#c44e52', ours: '#2a7f62', plain: '#8c8c8c' }
const names = ['builtin', 'ours', 'plain'] as const
const panel = { width: 300, height: 210, left: 52, top: 36, right: 18, bottom: 34 }
const inner = { width: panel.width - panel.left - panel.right, height: panel.height - panel.top - panel.bottom }

/** An SVG that needs nothing else. */
export function plotOutbox(report: OutboxReport): string {
  const rows = databases(report.results).map(([database, measured], row) => {
    const at = (column: number, content: string) =>
      `<g transform="translate(${column * panel.width},${24 + row * panel.height})">${content}</g>`
    return [
      at(
        0,
        bars(
          `${database}: commit to consumer, ms (p50, p99)`,
          names.map((name) => ({ name, values: [measured.latency[name].p50Ms, measured.latency[name].p99Ms] })),
        ),
      ),
      at(
        1,
        bars(
          `${database}: events per second`,
          names.map((name) => ({ name, values: [measured.eventsPerSecond[name]] })),
        ),
      ),
      at(2, lines(`${database}: transactions per second by callers`, measured.transactions)),
    ].join('\n')
  })
  const width = panel.width * 3
  const height = 30 + rows.length * panel.height
  const legend = names
    .map(
      (name, i) =>
        `<rect x="${10 + i * 80}" y="8" width="10" height="10" fill="${colours[name]}"/>${text(24 + i * 80, 17, name, 'start')}`,
    )
    .join('')
  const { machine, date } = report
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" font-family="system-ui, sans-serif" font-size="11" fill="#222">`,
    `<rect width="${width}" height="${height}" fill="#fff"/>`,
    legend,
    '<path d="M250 13h20" stroke="#555" stroke-dasharray="4 3"/>',
    text(275, 17, 'a store that does nothing', 'start'),
    text(
      width - 10,
      17,
      `${date.slice(0, 10)}, ${machine.cores} cores, ${machine.memoryGiB} GiB, all on one machine${report.quick ? ', quick run' : ''}`,
      'end',
    ),
    ...rows,
    '</svg>',
    '',
  ].join('\n')
}

const text = (x: number, y: number, content: string, anchor: 'start' | 'middle' | 'end' = 'middle') =>
  `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" text-anchor="${anchor}">${content}</text>`

const frame = (title: string) =>
  `${text(panel.left, panel.top - 14, title, 'start')}<path d="M${panel.left} ${panel.top}v${inner.height}h${inner.width}" fill="none" stroke="#999"/>`

/** Bars on a logarithmic scale: the ways are orders of magnitude apart. */
function bars(title: string, groups: { name: WayName; values: number[] }[]): string {
  const all = groups.flatMap(({ values }) => values)
  const low = Math.floor(Math.log10(Math.max(0.1, Math.min(...all))))
  const high = Math.max(low + 1, Math.ceil(Math.log10(Math.max(...all))))
  const y = (value: number) =>
    panel.top + inner.height * (1 - (Math.log10(Math.max(value, 10 ** low)) - low) / (high - low))
  const ticks = Array.from({ length: high - low + 1 }, (_, i) => 10 ** (low + i)).map((tick) =>
    gridLine(y(tick), number(tick)),
  )
  const step = inner.width / groups.length
  const drawn = groups.flatMap(({ name, values }, group) => {
    const width = (step * 0.7) / values.length
    return values.map((value, i) => {
      const x = panel.left + group * step + step * 0.15 + i * width
      // A value at the foot of the scale still shows.
      const top = Math.min(y(value), panel.top + inner.height - 1)
      const rect = `<rect x="${x.toFixed(1)}" y="${top.toFixed(1)}" width="${(width - 2).toFixed(1)}" height="${(panel.top + inner.height - top).toFixed(1)}" fill="${colours[name]}" fill-opacity="${i === 0 ? 1 : 0.65}"/>`
      return rect + text(x + width / 2 - 1, top - 3, number(value))
    })
  })
  const labels = groups.map(({ name }, group) =>
    text(panel.left + (group + 0.5) * step, panel.height - panel.bottom + 15, name),
  )
  return [frame(title), ...ticks, ...drawn, ...labels].join('')
}

function lines(title: string, transactions: Measured['transactions']): string {
  const callers = transactions.ours.map((rate) => rate.callers)
  const highest = Math.max(
    ...[...names, 'nothing' as const].flatMap((name) => transactions[name].map(({ perSecond }) => perSecond)),
  )
  const unit = niceStep(highest / 4)
  const top = Math.ceil(highest / unit) * unit
  const x = (index: number) => panel.left + 14 + (index * (inner.width - 28)) / Math.max(1, callers.length - 1)
  const y = (value: number) => panel.top + inner.height * (1 - value / top)
  const ticks = Array.from({ length: Math.round(top / unit) + 1 }, (_, i) => gridLine(y(i * unit), number(i * unit)))
  const drawn = names.map((name) => {
    const points = transactions[name].map(({ perSecond }, i) => `${x(i).toFixed(1)},${y(perSecond).toFixed(1)}`)
    const dots = points.map(
      (point) => `<circle cx="${point.split(',')[0]}" cy="${point.split(',')[1]}" r="3" fill="${colours[name]}"/>`,
    )
    return `<polyline points="${points.join(' ')}" fill="none" stroke="${colours[name]}" stroke-width="2"/>${dots.join('')}`
  })
  const labels = callers.map((count, i) => text(x(i), panel.height - panel.bottom + 15, String(count)))
  const limit = transactions.nothing.map(({ perSecond }, i) => `${x(i).toFixed(1)},${y(perSecond).toFixed(1)}`)
  const most = `<polyline points="${limit.join(' ')}" fill="none" stroke="#555" stroke-dasharray="4 3"/>`
  return [frame(title), ...ticks, most, ...drawn, ...labels].join('')
}

const gridLine = (y: number, label: string) =>
  `<path d="M${panel.left} ${y.toFixed(1)}h${inner.width}" stroke="#ddd" stroke-width="0.5"/>${text(panel.left - 5, y + 4, label, 'end')}`

/** 1, 2 or 5 times a power of ten, not below `value`. */
function niceStep(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value))
  return power * ([1, 2, 5, 10].find((factor) => factor * power >= value) ?? 10)
}
