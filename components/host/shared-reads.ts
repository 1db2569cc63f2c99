/**
 * Reads that come while others are under way share one question to the database: the next goes out, for all that wait, as
 * soon as one of `parallel` has its answer. Nobody gets an answer that is older than his question.
 * Rejects with what `read` throws.
 */
export function createSharedReads<Value>(
  read: (keys: string[]) => Promise<Map<string, Value>>,
  { parallel, keys: most } = { parallel: 4, keys: 64 },
): (key: string) => Promise<Value | undefined> {
  let queue: { key: string; resolve(value: Value | undefined): void; reject(error: unknown): void }[] = []
  let running = 0
  let planned = false

  function pump(): void {
    planned = false
    while (running < parallel && queue.length > 0) {
      const group = queue.splice(0, most)
      running += 1
      read([...new Set(group.map(({ key }) => key))])
        .then(
          (found) => group.forEach(({ key, resolve }) => resolve(found.get(key))),
          (error: unknown) => group.forEach(({ reject }) => reject(error)),
        )
        .finally(() => {
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
      setImmediate(pump)
    })
}
