// Draws the report: rates and latencies by size, and the CPU of a request.
import type { CatalogueReport, Size } from './catalogue-result.ts'
import { number } from './outbox-report.ts'

const panel = { width: 380, left: 150, top: 44, right: 60 }
const inner = panel.width - panel.left - panel.right
const row = 13
const gap = 9
const colours = ['#9ccfb8', '#55a583', '#2a7f62', '#1b5240']

type Series = { name: string; values: number[] }

/** Returns a self-contained SVG. */
export function plotCatalogue(report: CatalogueReport): string {
  const { sizes, machine } = report
  const kinds = sizes.at(-1)!.reads.map(({ kind }) => kind)
  const read = (size: Size, kind: string) => size.reads.find((each) => each.kind === kind)
  const series = (of: (size: Size, kind: string) => number | undefined): Series[] =>
    kinds.map((name) => ({ name, values: sizes.map((size) => of(size, name) ?? 0) }))
  const panels = [
    bars('requests/s, uncached', [
      ...series((size, kind) => read(size, kind)?.perSecond),
      { name: 'bare calls', values: sizes.map(({ bare }) => bare.perSecond) },
    ]),
    bars(
      'p99 ms',
      series((size, kind) => read(size, kind)?.p99Ms),
    ),
    bars(
      'CPU ms of a request',
      series((size, kind) => read(size, kind)?.cpu.reduce((sum, { milliseconds }) => sum + milliseconds, 0)),
    ),
  ]
  const height = panel.top + (kinds.length + 1) * (sizes.length * row + gap) + 30
  const width = panel.width * panels.length
  const legend = sizes.map(
    ({ products }, i) =>
      `<rect x="${20 + i * 130}" y="6" width="10" height="10" fill="${colours[i % colours.length]}"/>` +
      text(34 + i * 130, 15, `${products.toLocaleString('en')} products`, 'start'),
  )
  const about = `${report.date.slice(0, 10)}, ${machine.cores} cores, ${machine.memoryGiB} GiB, all on one machine`
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}"`,
    ' font-family="system-ui, sans-serif" font-size="11" fill="#222">',
    `<rect width="${width}" height="${height}" fill="#fff"/>`,
    ...legend,
    text(width - 10, 15, report.quick ? `${about}, quick run` : about, 'end'),
    ...panels.map((content, column) => `<g transform="translate(${column * panel.width},20)">${content}</g>`),
    '</svg>',
    '',
  ].join('\n')
}

function bars(title: string, all: Series[]): string {
  const most = Math.max(...all.flatMap(({ values }) => values).filter(Number.isFinite), 1e-9)
  let y = panel.top
  const drawn = all.map(({ name, values }) => {
    const group = values.map((value, i) => {
      const width = Number.isFinite(value) ? (inner * value) / most : 0
      const at = y + i * row
      return (
        `<rect x="${panel.left}" y="${at}" width="${width.toFixed(1)}" height="${row - 2}" ` +
        `fill="${colours[i % colours.length]}"/>` +
        text(panel.left + width + 4, at + row - 3, number(value), 'start')
      )
    })
    const label = text(panel.left - 6, y + (values.length * row) / 2 + 4, name, 'end')
    y += values.length * row + gap
    return label + group.join('')
  })
  return [text(panel.left, panel.top - 12, title, 'start'), ...drawn].join('')
}

const text = (x: number, y: number, content: string, anchor: 'start' | 'end') =>
  `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" text-anchor="${anchor}">${content}</text>`
