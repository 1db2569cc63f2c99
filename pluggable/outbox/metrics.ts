import { Counter, Gauge, Histogram, type Registry } from 'prom-client'
import type { RelayMetrics, RelayStep } from './relay.ts'

export type Backlog = { rows: number; oldestAgeSeconds: number }

export type OutboxMetrics = {
  /**
   * Returns the metrics of one Component. `backlog` is called at each scrape until `remove`, which
   * the Component calls when it closes.
   */
  forComponent(component: string, backlog: () => Promise<Backlog>): RelayMetrics & { remove(): void }
}

const steps: RelayStep[] = ['lease', 'read', 'publish', 'remove']

/** Creates the outbox metrics in `registry`, with one time series per Component. */
export function createOutboxMetrics(registry: Registry): OutboxMetrics {
  const backlogs = new Map<string, () => Promise<Backlog>>()
  const common = { labelNames: ['component' as const], registers: [registry] }
  let measured: { at: number; found: Promise<Map<string, Backlog>> } | undefined

  /**
   * Asks the database once for both gauges of a scrape. When it is down there is no figure rather
   * than a wrong one.
   */
  function measure(): Promise<Map<string, Backlog>> {
    if (measured && performance.now() - measured.at < 500) return measured.found
    const found = Promise.all(
      [...backlogs].map(async ([component, backlog]) => {
        const figures = await backlog().catch(() => undefined)
        return figures ? [[component, figures] as const] : []
      }),
    ).then((entries) => new Map(entries.flat()))
    measured = { at: performance.now(), found }
    return found
  }

  const gauge = (name: string, help: string, value: (backlog: Backlog) => number) =>
    new Gauge({
      ...common,
      name,
      help,
      async collect() {
        const found = await measure()
        this.reset()
        for (const [component, backlog] of found) this.set({ component }, value(backlog))
      },
    })
  gauge('outbox_rows_waiting', 'Events waiting to be relayed, counted up to 100,000', ({ rows }) => rows)
  gauge(
    'outbox_oldest_row_age_seconds',
    'Age of the oldest event waiting to be relayed',
    ({ oldestAgeSeconds }) => oldestAgeSeconds,
  )
  const relayed = new Counter({
    ...common,
    name: 'outbox_relayed_total',
    help: 'Events acknowledged by Kafka and deleted from the outbox',
  })
  const rounds = new Counter({
    ...common,
    name: 'outbox_relay_rounds_total',
    help: 'Batches acknowledged by Kafka and deleted from the outbox',
  })
  const errors = new Counter({
    ...common,
    labelNames: ['component', 'step'],
    name: 'outbox_relay_errors_total',
    help: 'Failed rounds of the relay: step publish is Kafka, the others are the database',
  })
  const delay = new Histogram({
    ...common,
    name: 'outbox_relay_delay_seconds',
    help: "Time from an event's write in its transaction to Kafka's acknowledgement",
    buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60, 600],
  })
  const leader = new Gauge({ ...common, name: 'outbox_leader', help: '1 if this process is the relay leader' })

  return {
    forComponent(component, backlog) {
      backlogs.set(component, backlog)
      relayed.inc({ component }, 0)
      rounds.inc({ component }, 0)
      for (const step of steps) errors.inc({ component, step }, 0)
      leader.set({ component }, 0)
      return {
        relayed(waitedMs) {
          relayed.inc({ component }, waitedMs.length)
          rounds.inc({ component })
          for (const ms of waitedMs) if (ms !== undefined) delay.observe({ component }, ms / 1_000)
        },
        failed: (step) => errors.inc({ component, step }),
        leader: (isLeader) => leader.set({ component }, isLeader ? 1 : 0),
        remove() {
          backlogs.delete(component)
          leader.set({ component }, 0)
        },
      }
    },
  }
}
