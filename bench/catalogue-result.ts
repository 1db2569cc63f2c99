// What a run of the benchmark of the catalogue measures: the content of
// bench/results/catalogue.json.
import type { Rate } from './load.ts'
import type { Machine } from './machine.ts'
import type { Target } from './targets.ts'

/** One kind of read, with what it cost: CPU by process for each request. */
export type Read = Rate & {
  kind: string
  statuses: Record<string, number>
  cpu: { name: string; milliseconds: number }[]
}

/** Requests a second that wrk made; `bytes` is the mean size of a response. */
export type EdgeLoad = { perSecond: number; p50Ms: number; p99Ms: number; failed: number; bytes: number }

export type Size = {
  products: number
  seed: {
    /** How many were added, and in which time their upload ended. */
    added: number
    seconds: number
    perSecond: number
    /** Until the index had them all, from the upload's end. */
    indexedAfterSeconds: number
    cpu: { name: string; milliseconds: number }[]
  }
  reads: Read[]
  /** Bare calls through two sidecars to a method that does nothing. */
  bare: Rate
  /** Hot pages through the edge, and a static file of their size from the same nginx. */
  edge?: { hot: EdgeLoad; file: EdgeLoad }
  memory: { name: string; bytes: number }[]
  /** From the start of every process of the stopped shop until it is ready, with these products. */
  startSeconds?: number
}

export type CatalogueReport = {
  /** RFC 3339. */
  date: string
  quick: boolean
  seconds: number
  machine: Machine
  versions: Record<string, string>
  sizes: Size[]
  targets: Target[]
}
