// The spans of one order, from Jaeger.
import { poll } from '../platform/poll.ts'
import type { Shopping } from './order-load.ts'
import type { Hops } from './orders-result.ts'

type Trace = {
  spans: { operationName: string; processID: string; startTime: number; duration: number }[]
  processes: Record<string, { serviceName: string }>
}

/** Each process sends its spans at most this much later. */
const batchMs = 6_000

/**
 * Places one order and counts the spans of its trace once all must have arrived. Undefined when
 * there is none, as where traces are sampled.
 */
export async function readHops(
  { api, outcomes, shoppers, lines }: Shopping,
  jaegerQueryPort: number,
): Promise<Hops | undefined> {
  const { status, body, traceparent } = await api.send('POST', '/v1/orders', {
    token: shoppers[0]!,
    headers: { 'idempotency-key': crypto.randomUUID() },
    body: { lines: lines(), payment: { method: 'pm_card_visa' } },
  })
  if (status !== 202) throw new Error(`the order was answered with ${status} ${body.slice(0, 200)}`)
  await outcomes.terminal((JSON.parse(body) as { id: string }).id)
  const url = `http://127.0.0.1:${jaegerQueryPort}/api/traces/${traceparent.split('-')[1]}`
  const read = async () => {
    const response = await fetch(url)
    if (!response.ok) return undefined
    return ((await response.json()) as { data: Trace[] }).data[0]
  }
  const lastEnd = ({ spans }: Trace) =>
    Math.max(...spans.map(({ startTime, duration }) => (startTime + duration) / 1_000))
  const complete = async () => {
    const trace = await read()
    return trace && Date.now() - lastEnd(trace) > batchMs && trace
  }
  const trace = await poll('the trace', complete, { timeoutMs: 20_000, intervalMs: 500 }).catch(() => undefined)
  return trace && countHops(trace)
}

/** Counts spans by process, and by call. */
export function countHops({ spans, processes }: Trace): Hops {
  const count = (names: string[]) =>
    Object.fromEntries(
      [...Map.groupBy(names, (name) => name)]
        .map(([name, all]): [string, number] => [name, all.length])
        .toSorted(([, a], [, b]) => b - a),
    )
  const service = ({ processID }: Trace['spans'][number]) => processes[processID]?.serviceName ?? '?'
  return {
    total: spans.length,
    byService: count(spans.map(service)),
    calls: count(spans.map((span) => `${service(span)}: ${span.operationName}`)),
  }
}
