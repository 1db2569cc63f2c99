// A trace as a waterfall for the terminal. No I/O.
import { styleText } from 'node:util'

export type Span = {
  id: string
  /** Absent for a root. */
  parentId?: string
  service: string
  /** What was called, such as `shop.orders.v1.OrdersService/PlaceOrder`. */
  call: string
  /** Since the epoch, in milliseconds. */
  startMs: number
  durationMs: number
  /** Why it failed. */
  error?: string
}

type Row = Span & { depth: number; count: number }

const errorMark = ' ✘ '
const shortestBar = 10
const shortestCall = 20

/**
 * Draws a trace: one row a span, children below their parent in the order of their start, with
 * service, call, start and length in milliseconds, and a bar. Adjacent calls that are alike and
 * have no children share a row.
 * @param width columns of the terminal
 * @param colour whether errors and bars are coloured; errors are always marked in text too
 */
export function renderWaterfall(spans: Span[], { width, colour }: { width: number; colour: boolean }): string {
  const rows = toRows(spans.map(printable))
  if (rows.length === 0) return 'The trace has no spans.'
  const began = Math.min(...rows.map(({ startMs }) => startMs))
  const ended = Math.max(...rows.map(({ startMs, durationMs }) => startMs + durationMs))
  const totalMs = Math.max(ended - began, 0.001)

  const widest = (texts: string[]) => Math.max(...texts.map((text) => text.length))
  const numberWidth = Math.max(8, totalMs.toFixed(1).length + 1)
  const forTexts = width - 2 * numberWidth - 4 - shortestBar
  const serviceWidth = Math.max(
    'service'.length,
    Math.min(widest(rows.map(({ service }) => service)), forTexts - shortestCall),
  )
  const rest = forTexts + shortestBar - serviceWidth
  const callWidth = Math.max(shortestCall, Math.min(widest(['call', ...rows.map(describeCall)]), rest - shortestBar))
  const barWidth = Math.max(shortestBar, rest - callWidth)
  const paint = (style: Parameters<typeof styleText>[0], text: string) =>
    colour ? styleText(style, text, { validateStream: false }) : text

  const lines = rows.flatMap((row) => {
    const offset = Math.min(barWidth - 1, Math.floor(((row.startMs - began) / totalMs) * barWidth))
    const length = Math.max(1, Math.min(barWidth - offset, Math.round((row.durationMs / totalMs) * barWidth)))
    const bar = ' '.repeat(offset) + paint(row.error === undefined ? 'cyan' : 'red', '█'.repeat(length))
    const line = [
      fit(row.service, serviceWidth),
      fit(describeCall(row), callWidth),
      (row.startMs - began).toFixed(1).padStart(numberWidth),
      row.durationMs.toFixed(1).padStart(numberWidth),
      bar,
    ].join(' ')
    if (row.error === undefined) return [line]
    // However deep the span, its mark and some of the reason are visible.
    const indent = Math.min(serviceWidth + 1 + row.depth, Math.floor(width / 2))
    const reason = fit(row.error, width - indent - errorMark.length).trimEnd()
    return [line, paint('red', `${' '.repeat(indent)}${errorMark}${reason}`)]
  })
  const head = [
    'service'.padEnd(serviceWidth),
    'call'.padEnd(callWidth),
    'start ms'.padStart(numberWidth),
    'ms'.padStart(numberWidth),
  ].join(' ')
  const errors = rows.filter(({ error }) => error !== undefined).length
  const summary = [
    `${spans.length} spans`,
    `${new Set(spans.map(({ service }) => service)).size} processes`,
    `${totalMs.toFixed(1)} ms`,
    errors === 0 ? 'no errors' : `${errors} ${errors === 1 ? 'error' : 'errors'}`,
  ]
  return [paint('bold', head), ...lines, summary.join(', ')].join('\n')
}

/**
 * Texts come from anywhere: line ends would break the rows, and escape sequences reach the
 * terminal.
 */
function printable({ service, call, error, ...span }: Span): Span {
  const oneLine = (text: string) => text.replaceAll(/[\p{Cc}\s]+/gu, ' ').trim()
  return {
    ...span,
    service: oneLine(service),
    call: oneLine(call),
    ...(error === undefined ? {} : { error: oneLine(error) }),
  }
}

/** Depth first. A span whose parent is unknown is a root. */
function toRows(spans: Span[]): Row[] {
  const known = new Set(spans.map(({ id }) => id))
  const sorted = spans.toSorted((a, b) => a.startMs - b.startMs)
  const childrenOf = Map.groupBy(sorted, ({ parentId }) =>
    parentId !== undefined && known.has(parentId) ? parentId : undefined,
  )
  const rows: Row[] = []
  const visit = (span: Span, depth: number) => {
    const children = childrenOf.get(span.id) ?? []
    const last = rows.at(-1)
    const isRepeat =
      last !== undefined &&
      last.depth === depth &&
      last.parentId === span.parentId &&
      last.service === span.service &&
      last.call === span.call &&
      last.error === undefined &&
      span.error === undefined &&
      children.length === 0 &&
      !childrenOf.has(last.id)
    if (isRepeat) {
      last.count += 1
      last.durationMs = Math.max(last.durationMs, span.startMs + span.durationMs - last.startMs)
      return
    }
    rows.push({ ...span, depth, count: 1 })
    for (const child of children) visit(child, depth + 1)
  }
  for (const root of childrenOf.get(undefined) ?? []) visit(root, 0)
  return rows
}

/**
 * Indented by one column a level: an order's events nest 25 levels deep. RPCs lose their package.
 */
const describeCall = ({ call, depth, count }: Row): string =>
  `${' '.repeat(depth)}${call.replace(/^\/?(?:\w+\.)+(?=\w+\/)/, '')}${count > 1 ? ` ×${count}` : ''}`

/**
 * Exactly `width` columns; what is too long loses its middle, since a method's name is at the end.
 */
function fit(text: string, width: number): string {
  if (text.length <= width) return text.padEnd(width)
  const tail = Math.floor((width - 1) * 0.6)
  return `${text.slice(0, width - 1 - tail)}…${text.slice(text.length - tail)}`
}
