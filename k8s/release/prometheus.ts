// The two figures of the SLO, from Prometheus' HTTP API.
import { z } from 'zod'
import type { Figures } from './decision.ts'

const answer = z.object({
  status: z.literal('success'),
  data: z.object({
    result: z.array(z.object({ metric: z.object({ figure: z.string() }), value: z.tuple([z.number(), z.string()]) })),
  }),
})

/** What a label's value is to be quoted as. */
const quoted = (text: string) => JSON.stringify(text)

/**
 * Counts the requests of a service in the last seconds, by what k8s/components/monitors scrapes.
 * @returns undefined when nothing was scraped
 * @throws Error when Prometheus does not answer within 10 s, or not as expected
 */
export async function readFigures(
  prometheus: string,
  { namespace, service, seconds }: { namespace: string; service: string; seconds: number },
): Promise<Figures | undefined> {
  const labels = `namespace=${quoted(namespace)},service=${quoted(service)}`
  const count = (figure: string, metric: string, more = '') =>
    `label_replace(sum(increase(http_server_duration_seconds_${metric}{${labels}${more}}[${seconds}s])), ` +
    `"figure", "${figure}", "", "")`
  // One query, so one moment: a scrape between two would count requests in one of them only.
  const figures = await query(
    prometheus,
    [count('requests', 'count'), count('failed', 'count', ',status=~"5.."'), count('fast', 'bucket', ',le="0.5"')].join(
      ' or ',
    ),
  )
  const requests = figures.get('requests')
  if (requests === undefined) return undefined
  return { requests, failed: figures.get('failed') ?? 0, slow: Math.max(0, requests - (figures.get('fast') ?? 0)) }
}

/** Returns the values of an expression by their label `figure`. */
async function query(prometheus: string, expression: string): Promise<Map<string, number>> {
  const url = new URL('/api/v1/query', prometheus)
  url.searchParams.set('query', expression)
  const response = await fetch(url, { signal: AbortSignal.timeout(10_000) })
  if (!response.ok) throw new Error(`Prometheus answers ${response.status}: ${(await response.text()).slice(0, 300)}`)
  const { result } = answer.parse(await response.json()).data
  return new Map(result.map(({ metric, value }) => [metric.figure, Number(value[1])]))
}
