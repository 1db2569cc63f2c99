import { ComponentError } from './errors.ts'

/**
 * Returns a function that reads one key. Reads that arrive while others are in progress share one
 * query: the next query, for all waiting reads, is sent as soon as one of `parallel` has returned.
 * No read gets a result from before it was requested.
 *
 * Rejects with what `read` throws. An unreadable value fails only its own read. A database that
 * does not respond fails all waiting reads, since a query of their own would keep them waiting as
 * long again.
 */
export function createSharedReads<Value>(
  read: (keys: string[]) => Promise<Map<string, Value>>,
  { parallel, keys: maxKeys } = { parallel: 4, keys: 64 },
): (key: string) => Promise<Value | undefined> {
  type Reader = { key: string; resolve(value: Value | undefined): void; reject(error: unknown): void }
  let queue: Reader[] = []
  let running = 0
  let scheduled = false

  async function query(group: Reader[]): Promise<void> {
    try {
      const found = await read([...new Set(group.map(({ key }) => key))])
      for (const { key, resolve } of group) resolve(found.get(key))
    } catch (error) {
      const isUnavailable = error instanceof ComponentError && error.code === 'STORE_UNAVAILABLE'
      if (isUnavailable) for (const { reject } of queue.splice(0)) reject(error)
      if (isUnavailable || group.length === 1) for (const { reject } of group) reject(error)
      else for (const reader of group) await query([reader])
    }
  }

  function pump(): void {
    scheduled = false
    while (running < parallel && queue.length > 0) {
      running += 1
      void query(queue.splice(0, maxKeys)).finally(() => {
        running -= 1
        pump()
      })
    }
  }

  return (key) =>
    new Promise((resolve, reject) => {
      queue.push({ key, resolve, reject })
      if (scheduled) return
      scheduled = true
      // Requests that arrived in the same read from the socket go together.
      setImmediate(pump)
    })
}
