import { ComponentError } from '../host/errors.ts'
import type { Operation } from '../host/state-store.ts'
import type { PendingEvent } from './event.ts'

/** One caller's transaction, as far as its way into a group is concerned. */
export type Groupable = {
  /**
   * Everything that it writes: no two transactions that share one of these are under way at once.
   */
  keys: string[]
  bytes: number
}

export type GroupLimits = {
  /** 1 switches group commit off: each transaction is a database transaction of its own. */
  transactions: number
  /**
   * Below 4 MiB: a database refuses larger packets, and one snapshot of it must not grow without
   * end.
   */
  bytes: number
  /** Groups that are under way at once. */
  groups: number
  /**
   * Transactions that wait. Callers beyond it are told so at once: the database is hopelessly
   * behind.
   */
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

/**
 * Without groups transactions run beside each other instead, as many as there are connections for.
 */
export const ungrouped = (groups: number): GroupLimits => ({ ...groupLimits, transactions: 1, groups })

/** What one caller wants done, all of it or nothing. */
export type Transaction = Groupable & { operations: Operation[]; events: PendingEvent[] }

export function toTransaction(operations: Operation[], events: PendingEvent[]): Transaction {
  const keys = new Set([
    ...operations.map(({ key }) => `state ${key}`),
    ...events.map(({ partitionKey }) => `event ${partitionKey}`),
  ])
  const values = operations.reduce((sum, operation) => sum + (operation.kind === 'set' ? operation.value.length : 0), 0)
  return { operations, events, keys: [...keys], bytes: events.reduce((sum, { bytes }) => sum + bytes, values) }
}

/**
 * What became of one transaction of a group that was committed: why it was left out, or undefined
 * where it was done.
 */
export type Outcome = ComponentError | undefined

type Entry<T> = { transaction: T; alone: boolean; since: number; resolve(): void; reject(error: unknown): void }

/**
 * Commits what arrives while the database is busy in groups: one database transaction, one flush of
 * its log, for many callers. Measured with MariaDB on two cores at 32 callers: `npm run bench --
 * outbox`.
 *
 * Transactions that share a key run one after the other, in the order of their arrival. `commit`
 * answers for each transaction of its group; where it throws instead, nothing of the group was
 * done, and each of them is tried again alone, so that what is wrong with one of them fails no
 * other. Only a database that does not answer (STORE_UNAVAILABLE), or whose answer to the commit
 * was lost (COMMIT_UNKNOWN), fails all of a group; the former fails all that wait too.
 *
 * The function that is returned rejects with that transaction's error, and with STORE_UNAVAILABLE
 * when its turn did not come in time.
 */
export function createGroupCommit<T extends Groupable>(
  commit: (group: T[]) => Promise<Outcome[]>,
  limits: GroupLimits = groupLimits,
): (transaction: T) => Promise<void> {
  let queue: Entry<T>[] = []
  const busy = new Set<string>()
  let running = 0
  let planned = false
  let expiry: NodeJS.Timeout | undefined

  /**
   * The next group: the oldest first, past those whose keys are taken and everything that must come
   * after those.
   */
  function take(): Entry<T>[] {
    const group: Entry<T>[] = []
    const left: Entry<T>[] = []
    const passed = new Set<string>()
    let bytes = 0
    let full = false
    for (const entry of queue) {
      const { keys, bytes: own } = entry.transaction
      full ||= group.length === limits.transactions || (group.length > 0 && (bytes + own > limits.bytes || entry.alone))
      if (full || keys.some((key) => busy.has(key) || passed.has(key))) left.push(entry)
      else {
        group.push(entry)
        bytes += own
        full = entry.alone
      }
      for (const key of keys) passed.add(key)
    }
    queue = left
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
      // Who waits has waited for the same database: a turn of his own, as long again, would be
      // longer than callers are promised.
      if (code === 'STORE_UNAVAILABLE') for (const { reject } of queue.splice(0)) reject(error)
      if (code === 'STORE_UNAVAILABLE' || code === 'COMMIT_UNKNOWN' || group.length === 1)
        for (const { reject } of group) reject(error)
      else queue.unshift(...group.map((entry) => ({ ...entry, alone: true })))
    }
  }

  function pump(): void {
    planned = false
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
        reject(new ComponentError('STORE_UNAVAILABLE', `too many writers at once (no turn within ${limits.waitMs} ms)`))
    }
    queue = queue.filter(({ since }) => since > late)
    pump()
  }

  return (transaction) =>
    new Promise((resolve, reject) => {
      if (queue.length >= limits.waiting) {
        reject(new ComponentError('STORE_UNAVAILABLE', `too many writers at once (${queue.length} wait already)`))
        return
      }
      queue.push({ transaction, alone: false, since: performance.now(), resolve, reject })
      if (planned) return
      planned = true
      // What has arrived by the same read from the socket goes together.
      setImmediate(pump)
    })
}
