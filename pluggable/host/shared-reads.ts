import { ComponentError } from './errors.ts'

/**
 * Reads that come while others are under way share one question to the database: the next goes out,
 * for all that wait, as soon as one of `parallel` has its answer. Nobody gets an answer that is
 * older than his question.
 *
 * Rejects with what `read` throws. A value that cannot be read fails its own reader only; a
 * database that does not answer fails all that wait for it, since a turn of their own would keep
 * them waiting as long again.
 */
export function createSharedReads<Value>(
  read: (keys: string[]) => Promise<Map<string, Value>>,
  { parallel, keys: most } = { parallel: 4, keys: 64 },
): (key: string) => Promise<Value | undefined> {
  type Reader = { key: string; resolve(value: Value | undefined): void; reject(error: unknown): void }
  let queue: Reader[] = []
  let running = 0
  let planned = false

  async function answer(group: Reader[]): Promise<void> {
    try {
      const found = await read([...new Set(group.map(({ key }) => key))])
      for (const { key, resolve } of group) resolve(found.get(key))
    } catch (error) {
      const isAway = error instanceof ComponentError && error.code === 'STORE_UNAVAILABLE'
      if (isAway) for (const { reject } of queue.splice(0)) reject(error)
      if (isAway || group.length === 1) for (const { reject } of group) reject(error)
      else for (const reader of group) await answer([reader])
    }
  }

  function pump(): void {
    planned = false
    while (running < parallel && queue.length > 0) {
      running += 1
      void answer(queue.splice(0, most)).finally(() => {
        running -= 1
        pump()
      })
    }
  }

  return (key) =>
    new Promise((resolve, reject) => {
      queue.push({ key, resolve, reject })
      if (planned) return
      planned = true
      // What has arrived by the same read from the socket goes together.
      setImmediate(pump)
    })
}
