import { randomBytes } from 'node:crypto'
import type { Arrivals } from './arrivals.ts'

/** One state write and the event that tells of it. */
export type Change = { id: string; key: string; value: Record<string, unknown> }

/** A way to commit a change and to get its event to Kafka. */
export type Way = {
  /** Commits the change. */
  transact: (change: Change) => Promise<void>
  /**
   * What is left to do for its event once it is committed; only where no relay or sidecar does it.
   */
  publish?: (change: Change) => Promise<void>
  arrivals: Arrivals
}

export type WayName = 'builtin' | 'ours' | 'plain'

export type Changes = { next: () => Change }

const run = randomBytes(4).toString('hex')
let made = 0

/** Changes of `keys` keys in turn, of about `bytes` bytes each; every one has an id of its own. */
export function createChanges({ keys = 1_000, bytes = 700 }: { keys?: number; bytes?: number } = {}): Changes {
  const padding = 'x'.repeat(Math.max(0, bytes - 60))
  return {
    next() {
      made += 1
      return {
        id: `bench-${run}-${made}`,
        key: `order:${made % keys}`,
        value: { change: `bench-${run}-${made}`, amount: made % 997, note: padding },
      }
    },
  }
}

/** A CloudEvent as the outbox stores publish it, for the ways that make their own. */
export function cloudEvent({ id, key, value }: Change): string {
  return JSON.stringify({
    specversion: '1.0',
    id,
    source: 'bench',
    type: 'bench.changed.v1',
    subject: key,
    time: new Date().toISOString(),
    datacontenttype: 'application/json',
    partitionkey: key,
    data: value,
  })
}
