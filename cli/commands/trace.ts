import type { Command } from 'commander'
import { poll } from '../../platform/poll.ts'
import { localShop } from '../shop-data/local-shop.ts'
import { renderWaterfall, type Span } from '../terminal/waterfall.ts'

type Options = { jaeger?: string; json?: boolean }

/** Adds `trace ID`. */
export function register(program: Command): void {
  program
    .command('trace')
    .description('draw a trace as a waterfall: service, call, start, length, errors')
    .argument('<id>', 'an order id, a trace id or a traceparent header')
    .option('--jaeger <url>', "Jaeger's query API; default: SIDECART_JAEGER, else that of this clone's shop")
    .option('--json', 'print the spans as JSON')
    .action(trace)
}

async function trace(id: string, options: Options): Promise<void> {
  const wanted = parseId(id)
  const spans = await completeTrace(jaegerUrl(options), wanted)
  if (options.json) return console.log(JSON.stringify(spans, undefined, 2))
  const colour = Boolean(process.stdout.isTTY) && !process.env['NO_COLOR']
  const width = process.stdout.columns || Number(process.env['COLUMNS']) || 120
  console.log(renderWaterfall(spans, { width, colour }))
}

type Wanted = { traceId: string } | { orderId: string }

/** Throws Error when it is none of the three. */
export function parseId(text: string): Wanted {
  const id = text.trim()
  if (/^o-[a-z2-7]{26}$/.test(id)) return { orderId: id }
  const traceId = /^(?:00-)?([0-9a-f]{32})(?:-[0-9a-f]{16}-[0-9a-f]{2})?$/.exec(id)?.[1]
  if (traceId !== undefined) return { traceId }
  throw new Error(`"${text}" is neither an order id (o-…), nor a trace id (32 hexadecimal digits), nor a traceparent.`)
}

function jaegerUrl(options: Options): string {
  const given = options.jaeger ?? process.env['SIDECART_JAEGER']
  if (given) return given.replace(/\/+$/, '')
  const shop = localShop()
  if (shop === undefined) throw new Error('This clone has no shop yet: start one with npm start, or give --jaeger.')
  return `http://127.0.0.1:${shop.ports.jaegerQuery}`
}

/**
 * Every process sends its spans at most this much later (OTEL_BSP_SCHEDULE_DELAY's default of 5 s,
 * and a little).
 */
const batchMs = 6_000

/**
 * Waits for the trace, and then until its last spans must have arrived. Throws Error when there is
 * none.
 */
async function completeTrace(jaeger: string, wanted: Wanted): Promise<Span[]> {
  const find = async () => {
    const spans = await findTrace(jaeger, wanted)
    return spans.length > 0 && spans
  }
  const found = await poll('the trace', find, { timeoutMs: 8_000, intervalMs: 500, isFatal: () => true }).catch(
    (error: Error) => {
      if (error instanceof JaegerError) throw error
      const name = 'orderId' in wanted ? `order ${wanted.orderId}` : wanted.traceId
      throw new Error(`Jaeger has no trace of ${name}. It keeps the last 20,000 traces and loses them on a restart.`)
    },
  )
  const lastEnd = (spans: Span[]) => Math.max(...spans.map(({ startMs, durationMs }) => startMs + durationMs))
  if (Date.now() - lastEnd(found) > batchMs) return found
  if (process.stderr.isTTY) process.stderr.write('Waiting for the last spans …\n')
  const complete = async () => {
    const spans = await findTrace(jaeger, wanted)
    return Date.now() - lastEnd(spans) > batchMs && spans
  }
  // A trace that goes on, such as an order in an outage, is drawn as far as it has come.
  return poll('the last spans', complete, { timeoutMs: 20_000, intervalMs: 500 }).catch(() => findTrace(jaeger, wanted))
}

class JaegerError extends Error {}

type JaegerTrace = {
  spans: {
    spanID: string
    operationName: string
    references?: { refType: string; spanID: string }[]
    /** Microseconds, as is `duration`. */
    startTime: number
    duration: number
    processID: string
    tags?: { key: string; value: unknown }[]
  }[]
  processes: Record<string, { serviceName: string }>
}

const week = 7 * 24 * 3_600_000

/**
 * Asks Jaeger's query API (https://www.jaegertracing.io/docs/2.13/architecture/apis/). Returns no
 * spans for an unknown trace.
 */
async function findTrace(jaeger: string, wanted: Wanted): Promise<Span[]> {
  const search = new URLSearchParams(
    'orderId' in wanted
      ? {
          service: 'orders',
          tags: JSON.stringify({ 'order.id': wanted.orderId }),
          start: String((Date.now() - week) * 1_000),
          end: String((Date.now() + 60_000) * 1_000),
          limit: '1',
        }
      : {},
  )
  const path = 'traceId' in wanted ? `/api/traces/${wanted.traceId}` : `/api/traces?${search}`
  const response = await fetch(`${jaeger}${path}`, { signal: AbortSignal.timeout(5_000) }).catch(
    async (error: unknown) => {
      throw new JaegerError(await unreachable(jaeger), { cause: error })
    },
  )
  if (response.status === 404) return []
  if (!response.ok) throw new JaegerError(`Jaeger at ${jaeger} responded with ${response.status}`)
  const { data } = (await response.json()) as { data: JaegerTrace[] | null }
  return (data ?? []).flatMap(toSpans)
}

function toSpans({ spans, processes }: JaegerTrace): Span[] {
  return spans.map(({ spanID, operationName, references, startTime, duration, processID, tags = [] }) => {
    const tag = (key: string) => tags.find((one) => one.key === key)?.value
    const parentId = references?.find(({ refType }) => refType === 'CHILD_OF')?.spanID
    const failed = tag('error') === true || tag('otel.status_code') === 'ERROR'
    const reason = tag('otel.status_description') ?? tag('exception.message') ?? 'failed'
    return {
      id: spanID,
      ...(parentId === undefined ? {} : { parentId }),
      service: processes[processID]?.serviceName ?? '?',
      call: operationName,
      startMs: startTime / 1_000,
      durationMs: duration / 1_000,
      ...(failed ? { error: String(reason) } : {}),
    }
  })
}

async function unreachable(jaeger: string): Promise<string> {
  const shop = localShop()
  const { statuses } = await import('../../platform/supervise/status.ts')
  const state = shop && (await statuses(shop.paths).catch(() => [])).find(({ name }) => name === 'jaeger')?.state
  if (state === 'building')
    return 'Jaeger is still being built; npm run status shows its log. Traces start once it runs.'
  return `Jaeger does not respond at ${jaeger}. Is the shop running? npm run status shows it.`
}
