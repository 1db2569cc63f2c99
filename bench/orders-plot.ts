// Draws the report: rates, latencies, and the CPU of an order by process.
import { number } from './outbox-report.ts'
import type { OrdersReport } from './orders-result.ts'

const panel = { width: 330, height: 250, left: 120, top: 40, right: 60, bottom: 10 }
const inner = panel.width - panel.left - panel.right

type Bar = { name: string; value: number; colour?: string }

const usual = '#2a7f62'
const missed = '#c44e52'

/** Returns a self-contained SVG. */
export function plotOrders(report: OrdersReport): string {
  const { uniform, fixed, whole, hot, tenLines, alone, third, cpu, bare } = report
  const rate = (name: string, { confirmedPerSecond, sustained }: (typeof uniform)[number]): Bar => ({
    name: sustained ? name : `${name} (not sustained)`,
    value: confirmedPerSecond,
    colour: sustained ? usual : missed,
  })
  const callers = (count: number) => `${count} ${count === 1 ? 'caller' : 'callers'}`
  const panels = [
    bars('orders CONFIRMED/s', [
      ...uniform.map((one) => rate(callers(one.callers), one)),
      rate(`${whole.callers} that wait`, whole),
      ...fixed.slice(-1).map((one) => rate(`fixed rate`, one)),
      rate('one hot SKU', hot),
      rate('ten lines', tenLines),
      { name: 'bare calls / 10', value: bare[0]!.perSecond / 10, colour: '#8c8c8c' },
    ]),
    bars('POST to CONFIRMED, p99 ms', [
      { name: 'one at a time', value: alone.latency.p99Ms },
      { name: `at ${number(third.startedPerSecond!)}/s`, value: third.latency.p99Ms },
      ...uniform.map((one) => ({ name: callers(one.callers), value: one.latency.p99Ms })),
    ]),
    bars('CPU ms of an order', largest(cpu.processes.map(({ name, milliseconds }) => ({ name, value: milliseconds })))),
  ]
  const { cores, memoryGiB } = report.machine
  const about = `${report.date.slice(0, 10)}, ${cores} cores, ${memoryGiB} GiB, all on one machine`
  const width = panel.width * panels.length
  const height = panel.height + 20
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}"`,
    ' font-family="system-ui, sans-serif" font-size="11" fill="#222">',
    `<rect width="${width}" height="${height}" fill="#fff"/>`,
    text(width - 10, 14, report.quick ? `${about}, quick run` : about, 'end'),
    ...panels.map((content, column) => `<g transform="translate(${column * panel.width},20)">${content}</g>`),
    '</svg>',
    '',
  ].join('\n')
}

/** The nine largest, and the rest as one. */
function largest(all: Bar[]): Bar[] {
  const sorted = all.toSorted((a, b) => b.value - a.value)
  const rest = sorted.slice(9).reduce((sum, { value }) => sum + value, 0)
  return [...sorted.slice(0, 9), ...(rest > 0 ? [{ name: 'all others', value: rest, colour: '#8c8c8c' }] : [])]
}

function bars(title: string, all: Bar[]): string {
  const most = Math.max(...all.map(({ value }) => value).filter(Number.isFinite), 1e-9)
  const step = (panel.height - panel.top - panel.bottom) / all.length
  const drawn = all.map(({ name, value, colour = usual }, i) => {
    const y = panel.top + i * step
    const width = Number.isFinite(value) ? (inner * value) / most : 0
    return (
      text(panel.left - 6, y + step / 2 + 4, name, 'end') +
      `<rect x="${panel.left}" y="${(y + step * 0.15).toFixed(1)}" width="${width.toFixed(1)}" ` +
      `height="${(step * 0.7).toFixed(1)}" fill="${colour}"/>` +
      text(panel.left + width + 4, y + step / 2 + 4, number(value), 'start')
    )
  })
  return [text(panel.left, panel.top - 14, title, 'start'), ...drawn].join('')
}

const text = (x: number, y: number, content: string, anchor: 'start' | 'end') =>
  `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" text-anchor="${anchor}">${content}</text>`
