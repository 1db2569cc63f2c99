// Draws the report: per database, latencies and event rates as bars, and transactions by number of
// callers as lines.
import { contenderNames, contenderTitles, type ContenderName } from './contender.ts'
import { databases, number } from './outbox-report.ts'
import type { Measured, OutboxReport } from './outbox-result.ts'

const colours: Record<ContenderName, string> = { builtin: '#c44e52', ours: '#2a7f62', driver: '#8c8c8c' }
const names = contenderNames
const panel = { width: 300, height: 210, left: 52, top: 36, right: 18, bottom: 34 }
const inner = { width: panel.width - panel.left - panel.right, height: panel.height - panel.top - panel.bottom }

/** Returns a self-contained SVG. */
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
        `<rect x="${10 + i * 110}" y="8" width="10" height="10" fill="${colours[name]}"/>` +
        text(24 + i * 110, 17, contenderTitles[name], 'start'),
    )
    .join('')
  const { cores, memoryGiB } = report.machine
  const about = `${report.date.slice(0, 10)}, ${cores} cores, ${memoryGiB} GiB, all on one machine`
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}"`,
    ' font-family="system-ui, sans-serif" font-size="11" fill="#222">',
    `<rect width="${width}" height="${height}" fill="#fff"/>`,
    legend,
    '<path d="M330 13h20" stroke="#555" stroke-dasharray="4 3"/>',
    text(355, 17, 'a store that does nothing', 'start'),
    text(width - 10, 17, report.quick ? `${about}, quick run` : about, 'end'),
    ...rows,
    '</svg>',
    '',
  ].join('\n')
}

const text = (x: number, y: number, content: string, anchor: 'start' | 'middle' | 'end' = 'middle') =>
  `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" text-anchor="${anchor}">${content}</text>`

const frame = (title: string) =>
  text(panel.left, panel.top - 14, title, 'start') +
  `<path d="M${panel.left} ${panel.top}v${inner.height}h${inner.width}" fill="none" stroke="#999"/>`

/** Draws bars on a logarithmic scale: the contenders are orders of magnitude apart. */
function bars(title: string, groups: { name: ContenderName; values: number[] }[]): string {
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
      // A value at the bottom of the scale is still visible.
      const top = Math.min(y(value), panel.top + inner.height - 1)
      const [left, y1, w, h] = [x, top, width - 2, panel.top + inner.height - top].map((at) => at.toFixed(1))
      const fill = `fill="${colours[name]}" fill-opacity="${i === 0 ? 1 : 0.65}"`
      return (
        `<rect x="${left}" y="${y1}" width="${w}" height="${h}" ${fill}/>` +
        text(x + width / 2 - 1, top - 3, number(value))
      )
    })
  })
  const labels = groups.map(({ name }, group) =>
    text(panel.left + (group + 0.5) * step, panel.height - panel.bottom + 15, contenderTitles[name]),
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
    const points = transactions[name].map(({ perSecond }, i) => [x(i).toFixed(1), y(perSecond).toFixed(1)])
    const dots = points.map(([cx, cy]) => `<circle cx="${cx}" cy="${cy}" r="3" fill="${colours[name]}"/>`)
    const path = points.map((point) => point.join()).join(' ')
    return `<polyline points="${path}" fill="none" stroke="${colours[name]}" stroke-width="2"/>${dots.join('')}`
  })
  const labels = callers.map((count, i) => text(x(i), panel.height - panel.bottom + 15, String(count)))
  const limit = transactions.nothing.map(({ perSecond }, i) => `${x(i).toFixed(1)},${y(perSecond).toFixed(1)}`)
  const most = `<polyline points="${limit.join(' ')}" fill="none" stroke="#555" stroke-dasharray="4 3"/>`
  return [frame(title), ...ticks, most, ...drawn, ...labels].join('')
}

const gridLine = (y: number, label: string) =>
  `<path d="M${panel.left} ${y.toFixed(1)}h${inner.width}" stroke="#ddd" stroke-width="0.5"/>` +
  text(panel.left - 5, y + 4, label, 'end')

/** Returns the smallest 1, 2 or 5 times a power of ten that is at least `value`. */
function niceStep(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value))
  return power * ([1, 2, 5, 10].find((factor) => factor * power >= value) ?? 10)
}
