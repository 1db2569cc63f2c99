// What a run of the benchmark of orders measures: the content of bench/results/orders.json.
import type { Rate } from './load.ts'
import type { Machine } from './machine.ts'
import type { OrderRate } from './order-load.ts'
import type { Counts } from './sidecar-counts.ts'
import type { Target } from './targets.ts'

export type Cpu = { name: string; milliseconds: number }

export type Hops = { total: number; byService: Record<string, number>; calls: Record<string, number> }

export type OrdersReport = {
  /** RFC 3339. */
  date: string
  quick: boolean
  seconds: number
  machine: Machine
  versions: Record<string, string>
  /** Bare calls through two sidecars to a method that does nothing, before and after the loads. */
  bare: Rate[]
  /** Each caller places its next order when the last is answered. */
  uniform: OrderRate[]
  /** Each caller waits until its order is terminal. */
  alone: OrderRate
  whole: OrderRate
  hot: OrderRate
  tenLines: OrderRate
  /** Orders that start at a fixed rate, lower each time until it is sustained. */
  fixed: OrderRate[]
  /** The load with the highest sustained rate of uniform SKUs. */
  top: OrderRate
  /** Orders that start at a third of the top rate. */
  third: OrderRate
  /** CPU by process for each order confirmed, during the load with the top rate. */
  cpu: { perOrderMs: number; loadMs: number; processes: Cpu[] }
  /** What the sidecars counted for each order in that load. */
  counts: Counts
  /** Share of all cores while nobody orders. */
  idle: { share: number; processes: { name: string; share: number }[] }
  /** Spans of one order's trace. */
  hops: Hops | undefined
  /** The same load again with many orders there already. */
  growth?: { orders: number; rate: OrderRate }
  /** The share of the processors' time that the machine's host gave to others during the run. */
  stolen?: number
  targets: Target[]
}
