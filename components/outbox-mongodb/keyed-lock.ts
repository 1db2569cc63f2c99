/**
 * Runs works that share a key one after the other, in this process. MongoDB does not queue writers of one document, it fails
 * all but one of them: queueing here spares those failures, and other processes are handled by trying again.
 */
export function createKeyedLock(): <T>(keys: Iterable<string>, work: () => Promise<T>) => Promise<T> {
  const tails = new Map<string, Promise<void>>()
  return async (keys, work) => {
    const own = [...new Set(keys)]
    const before = own.map((key) => tails.get(key)).filter((tail) => tail !== undefined)
    let release = (): void => {}
    const tail = new Promise<void>((resolve) => {
      release = resolve
    })
    // All keys are taken in this one step, so two works can never each wait for a key of the other.
    for (const key of own) tails.set(key, tail)
    try {
      await Promise.all(before)
      return await work()
    } finally {
      release()
      for (const key of own) if (tails.get(key) === tail) tails.delete(key)
    }
  }
}
