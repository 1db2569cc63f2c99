// What sidecars and components count: calls, state operations, events. Differences of these,
// divided by the orders of a load, show what an order costs in hops, even when works share one.

const counters = {
  /** Calls of one service by another, through both sidecars. */
  serviceCalls: /^dapr_grpc_io_server_completed_rpcs\{.*grpc_server_method="\/shop\./,
  /** Calls of sidecars by their services: state, bindings. */
  sidecarCalls: /^dapr_grpc_io_server_completed_rpcs\{.*grpc_server_method="\/dapr\./,
  /** Calls of services by their sidecars, each with one event or many. */
  deliveries: /^dapr_grpc_io_client_completed_rpcs\{.*AppCallback/,
  /** Calls of pluggable components by sidecars. */
  componentCalls: /^component_call_duration_seconds_count\{/,
  transactions: /^component_call_duration_seconds_count\{.*rpc="Transact"/,
  /** Events that sidecars have delivered, and how long their services took for them, in all. */
  delivered: /^dapr_component_pubsub_ingress_latencies_count\{/,
  deliveryMs: /^dapr_component_pubsub_ingress_latencies_sum\{/,
  /** Events published by the outboxes' relays. */
  events: /^outbox_relayed_total\{/,
}

export type Counts = Record<keyof typeof counters, number>

const names = Object.keys(counters) as (keyof Counts)[]

/** Sums the counters of processes. @param ports of their metrics; a closed one counts nothing */
export async function readCounts(ports: number[]): Promise<Counts> {
  const read = async (port: number) => (await fetch(`http://127.0.0.1:${port}/metrics`)).text()
  return sumCounts(await Promise.all(ports.map((port) => read(port).catch(() => ''))))
}

/** Sums the counters in texts of Prometheus' format. */
export function sumCounts(texts: string[]): Counts {
  const counts = Object.fromEntries(names.map((name) => [name, 0])) as Counts
  for (const line of texts.flatMap((text) => text.split('\n'))) {
    for (const name of names) if (counters[name].test(line)) counts[name] += Number(line.slice(line.lastIndexOf(' ')))
  }
  return counts
}

/** What was counted from `before` to `after`, for each of `orders`. */
export function countsPerOrder(before: Counts, after: Counts, orders: number): Counts {
  return Object.fromEntries(names.map((name) => [name, (after[name] - before[name]) / orders])) as Counts
}

/** A call of another service is three hops: to the own sidecar, to the other's, to the service. */
export const hopsOf = ({ serviceCalls, sidecarCalls, deliveries, componentCalls }: Counts): number =>
  3 * serviceCalls + sidecarCalls + deliveries + componentCalls
