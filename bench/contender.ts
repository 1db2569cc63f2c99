// What the outbox benchmark compares: three ways to commit a change and get its event to Kafka.
import { randomBytes } from 'node:crypto'
import type { Arrivals } from './arrivals.ts'

/** A state write and its event. */
export type Change = { id: string; key: string; value: Record<string, unknown> }

export type Contender = {
  /** Commits the change. */
  transact: (change: Change) => Promise<void>
  /** Publishes the event of a committed change. Absent where a relay or a sidecar does. */
  publish?: (change: Change) => Promise<void>
  arrivals: Arrivals
}

/**
 * - `builtin`: Dapr's own state store with its built-in outbox;
 * - `ours`: the outbox state store, behind the same sidecar;
 * - `driver`: the database's driver and kafkajs in the caller's process, without a sidecar.
 */
export const contenderNames = ['builtin', 'ours', 'driver'] as const

export type ContenderName = (typeof contenderNames)[number]

/** The names in tables and plots. */
export const contenderTitles: Record<ContenderName, string> = {
  builtin: 'built-in outbox',
  ours: 'Sidecart',
  driver: 'driver only',
}

export type Changes = { next: () => Change }

const run = randomBytes(4).toString('hex')
let created = 0

/** Returns changes of about `bytes` bytes that cycle through `keys` keys. Each has a unique id. */
export function createChanges({ keys = 1_000, bytes = 700 }: { keys?: number; bytes?: number } = {}): Changes {
  const padding = 'x'.repeat(Math.max(0, bytes - 60))
  return {
    next() {
      created += 1
      return {
        id: `bench-${run}-${created}`,
        key: `order:${created % keys}`,
        value: { change: `bench-${run}-${created}`, amount: created % 997, note: padding },
      }
    },
  }
}

/** Returns a CloudEvent in the outbox stores' format, as JSON. */
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
