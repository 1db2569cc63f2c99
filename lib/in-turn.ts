/**
 * Creates a queue for work in this process: `inTurn(keys, work)` runs `work` once all earlier work
 * that named one of the same keys has ended. It spares optimistic locking the conflicts that are
 * certain to come (ten orders of one shopper, a rush for one SKU). It guarantees nothing, since
 * other replicas have queues of their own: etags are what protects the data.
 */
export function createTurns() {
  const last = new Map<string, Promise<unknown>>()
  return async function inTurn<T>(keys: string[], work: () => Promise<T>): Promise<T> {
    // Work queues for all its keys in one step, so none can hold one key while waiting for another.
    const turn = Promise.allSettled(keys.map((key) => last.get(key))).then(work)
    for (const key of keys) last.set(key, turn)
    try {
      return await turn
    } finally {
      for (const key of keys) if (last.get(key) === turn) last.delete(key)
    }
  }
}
