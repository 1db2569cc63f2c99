import { ComponentError } from '../host/errors.ts'
import type { Operation } from '../host/state-store.ts'
import type { PendingEvent } from './event.ts'

/** What decides when a transaction can join a group. */
export type Groupable = {
  /** Everything it writes: no two transactions that share a key run at the same time. */
  keys: string[]
  bytes: number
}

export type GroupLimits = {
  /** The most transactions in a group. 1 switches group commit off. */
  transactions: number
  /** Below 4 MiB: databases reject larger packets, and a snapshot must not grow without limit. */
  bytes: number
  /** Groups that run at the same time. */
  groups: number
  /** Waiting transactions. More are rejected at once: the database is hopelessly behind. */
  waiting: number
  waitMs: number
}

export const groupLimits: GroupLimits = {
  transactions: 64,
  bytes: 2 * 1024 * 1024,
  groups: 2,
  waiting: 5_000,
  waitMs: 2_000,
}

/** Limits without group commit: transactions run in parallel instead, one per connection. */
export const ungrouped = (groups: number): GroupLimits => ({ ...groupLimits, transactions: 1, groups })

/** One caller's transaction: all of it is done or nothing. */
export type Transaction = Groupable & { operations: Operation[]; events: PendingEvent[] }

export function toTransaction(operations: Operation[], events: PendingEvent[]): Transaction {
  const keys = new Set([
    ...operations.map(({ key }) => `state ${key}`),
    ...events.map(({ numberKey }) => `event ${numberKey}`),
  ])
  const values = operations.reduce((sum, operation) => sum + (operation.kind === 'set' ? operation.value.length : 0), 0)
  return { operations, events, keys: [...keys], bytes: events.reduce((sum, { bytes }) => sum + bytes, values) }
}

/** The outcome of one transaction in a committed group: why it was left out, or undefined. */
export type Outcome = ComponentError | undefined

type Entry<T> = { transaction: T; alone: boolean; since: number; resolve(): void; reject(error: unknown): void }

/**
 * Returns a function that commits a transaction. Transactions that arrive while the database is
 * busy are committed in groups: one database transaction, one flush of its log, for many callers.
 * Measured with MariaDB on two cores at 32 callers: `npm run bench -- outbox`.
 *
 * Transactions that share a key run one at a time, in order of arrival. `commit` returns an outcome
 * for each transaction of its group. If it throws, nothing of the group was done, and each
 * transaction is retried alone, so that a fault in one does not fail the others. Two errors fail
 * the whole group instead: a database that does not respond (STORE_UNAVAILABLE), which fails all
 * waiting transactions too, and a lost response to the commit (COMMIT_UNKNOWN).
 *
 * The returned function rejects with the transaction's error, or with STORE_UNAVAILABLE if its turn
 * did not come in time.
 */
export function createGroupCommit<T extends Groupable>(
  commit: (group: T[]) => Promise<Outcome[]>,
  limits: GroupLimits = groupLimits,
): (transaction: T) => Promise<void> {
  let queue: Entry<T>[] = []
  const busy = new Set<string>()
  let running = 0
  let scheduled = false
  let expiry: NodeJS.Timeout | undefined

  /**
   * Takes the next group from the queue: the oldest first, skipping those whose keys are busy and
   * everything that must come after them.
   */
  function take(): Entry<T>[] {
    const group: Entry<T>[] = []
    const remaining: Entry<T>[] = []
    const skippedOrTaken = new Set<string>()
    let bytes = 0
    let full = false
    for (const entry of queue) {
      const { keys, bytes: own } = entry.transaction
      full ||= group.length === limits.transactions || (group.length > 0 && (bytes + own > limits.bytes || entry.alone))
      if (full || keys.some((key) => busy.has(key) || skippedOrTaken.has(key))) remaining.push(entry)
      else {
        group.push(entry)
        bytes += own
        full = entry.alone
      }
      for (const key of keys) skippedOrTaken.add(key)
    }
    queue = remaining
    return group
  }

  async function run(group: Entry<T>[]): Promise<void> {
    try {
      const outcomes = await commit(group.map(({ transaction }) => transaction))
      for (const [index, { resolve, reject }] of group.entries()) {
        const error = outcomes[index]
        if (error) reject(error)
        else resolve()
      }
    } catch (error) {
      const code = error instanceof ComponentError ? error.code : undefined
      // Waiting transactions have waited for the same database. A turn of their own would take as
      // long again, longer than callers are promised.
      if (code === 'STORE_UNAVAILABLE') for (const { reject } of queue.splice(0)) reject(error)
      if (code === 'STORE_UNAVAILABLE' || code === 'COMMIT_UNKNOWN' || group.length === 1)
        for (const { reject } of group) reject(error)
      else queue.unshift(...group.map((entry) => ({ ...entry, alone: true })))
    }
  }

  function pump(): void {
    scheduled = false
    while (running < limits.groups) {
      const group = take()
      if (group.length === 0) break
      const keys = group.flatMap(({ transaction }) => transaction.keys)
      for (const key of keys) busy.add(key)
      running += 1
      void run(group).finally(() => {
        running -= 1
        for (const key of keys) busy.delete(key)
        pump()
      })
    }
    const [oldest] = queue
    if (oldest && !expiry) expiry = setTimeout(expire, Math.max(0, oldest.since + limits.waitMs - performance.now()))
  }

  function expire(): void {
    expiry = undefined
    const late = performance.now() - limits.waitMs
    for (const { since, reject } of queue) {
      if (since <= late)
        reject(
          new ComponentError('STORE_UNAVAILABLE', `too many concurrent writers (no turn within ${limits.waitMs} ms)`),
        )
    }
    queue = queue.filter(({ since }) => since > late)
    pump()
  }

  return (transaction) =>
    new Promise((resolve, reject) => {
      if (queue.length >= limits.waiting) {
        reject(new ComponentError('STORE_UNAVAILABLE', `too many concurrent writers (${queue.length} already waiting)`))
        return
      }
      queue.push({ transaction, alone: false, since: performance.now(), resolve, reject })
      if (scheduled) return
      scheduled = true
      // Requests that arrived in the same read from the socket go together.
      setImmediate(pump)
    })
}
