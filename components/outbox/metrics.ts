import { Counter, Gauge, type Registry } from 'prom-client';
import type { RelayMetrics } from './relay.ts';

export type Backlog = { rows: number; oldestAgeSeconds: number };

export type OutboxMetrics = {
  /** Metrics of one instance; `backlog` is asked at each scrape. `remove` when the instance closes. */
  forInstance(component: string, backlog: () => Promise<Backlog>): RelayMetrics & { remove(): void };
};

/** The outbox's metrics in this registry, one time series for each component instance. */
export function createOutboxMetrics(registry: Registry): OutboxMetrics {
  const backlogs = new Map<string, () => Promise<Backlog>>();
  const common = { labelNames: ['component' as const], registers: [registry] };
  const oldest = new Gauge({ ...common, name: 'outbox_oldest_row_age_seconds', help: 'Age of the oldest event that waits to be relayed' });
  const rows = new Gauge({
    ...common,
    name: 'outbox_rows_waiting',
    help: 'Events that wait to be relayed, counted up to 100,000',
    async collect() {
      await Promise.all(
        [...backlogs].map(async ([component, backlog]) => {
          // A database that is away leaves no figure rather than a wrong one.
          const found = await backlog().catch(() => undefined);
          if (!found) {
            this.remove({ component });
            oldest.remove({ component });
            return;
          }
          this.set({ component }, found.rows);
          oldest.set({ component }, found.oldestAgeSeconds);
        }),
      );
    },
  });
  const relayed = new Counter({ ...common, name: 'outbox_relayed_total', help: 'Events that Kafka acknowledged and that were deleted' });
  const errors = new Counter({ ...common, name: 'outbox_relay_errors_total', help: 'Rounds of the relay that failed' });
  const leader = new Gauge({ ...common, name: 'outbox_leader', help: '1 where this process relays' });

  return {
    forInstance(component, backlog) {
      backlogs.set(component, backlog);
      relayed.inc({ component }, 0);
      errors.inc({ component }, 0);
      leader.set({ component }, 0);
      return {
        relayed: (count) => relayed.inc({ component }, count),
        failed: () => errors.inc({ component }),
        leader: (isLeader) => leader.set({ component }, isLeader ? 1 : 0),
        remove() {
          backlogs.delete(component);
          rows.remove({ component });
          oldest.remove({ component });
          leader.set({ component }, 0);
        },
      };
    },
  };
}
