// What a run of the outbox benchmark measures: the content of bench/results/outbox.json.
import type { ContenderName } from './contender.ts'
import type { Rate, Summary } from './load.ts'
import type { Machine } from './machine.ts'

export type DatabaseName = 'mysql' | 'mongodb'

export type Latency = Summary & { transactionsPerSecond: number; fromCall: Summary }

export type Growth = { at: number; ours: Rate; driver: Rate }

export type Measured = {
  /** From the commit's response to the consumer; `fromCall` from before the transaction. */
  latency: Record<ContenderName, Latency>
  /**
   * Ours where another replica relays than the one that commits: at the usual rate, and so rarely
   * that the relay is idle in between.
   */
  throughReplica: { usual: Latency; rare: Latency }
  eventsPerSecond: Record<ContenderName, number>
  /** `nothing`: the same calls through the same sidecar to a store that does nothing. */
  transactions: Record<ContenderName | 'nothing', Rate[]>
  /** The share of the processors' time that the machine's host gave to others during the run. */
  stolen?: number
  gets: { ours: Rate; dapr: Rate }
  growth?: { keys: Growth[]; bytes: Growth[] }
}

/** A ratio of two measurements and the target that every change is held to. */
export type Ratio = { database: DatabaseName; what: string; value: number; bar: number; met: boolean }

export type OutboxReport = {
  /** RFC 3339. */
  date: string
  quick: boolean
  /** How long the run took. */
  seconds: number
  machine: Machine
  versions: Record<string, string>
  durability: Partial<Record<DatabaseName | 'kafka', Record<string, string>>>
  /** Transactions per second at which latency is measured. */
  openRates: Record<ContenderName, number>
  results: Partial<Record<DatabaseName, Measured>>
  ratios: Ratio[]
}
