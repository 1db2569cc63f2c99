import { Histogram, type Registry } from 'prom-client'

export type CallMetrics = { observe(component: string, rpc: string, code: string, ms: number): void }

/** Counts and times calls by Component, RPC, and OK or the error code. */
export function createCallMetrics(registry: Registry): CallMetrics {
  const seconds = new Histogram({
    name: 'component_call_duration_seconds',
    help: "Time from a call's arrival to its response",
    labelNames: ['component', 'rpc', 'code'],
    buckets: [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5],
    registers: [registry],
  })
  return { observe: (component, rpc, code, ms) => seconds.observe({ component, rpc, code }, ms / 1_000) }
}
