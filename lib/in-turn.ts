/**
 * Makes a queue for work in this process: `inTurn(keys, work)` runs `work` once all earlier work
 * that named one of the same keys has ended. It spares optimistic locking the conflicts that are
 * certain to come (ten orders of one shopper, an order rush for one SKU); it guarantees nothing,
 * since other replicas queue for themselves: that is what etags are for.
 */
export function createTurns() {
  const last = new Map<string, Promise<unknown>>()
  return async function inTurn<T>(keys: string[], work: () => Promise<T>): Promise<T> {
    // Everybody queues for all keys in one go, so that nobody can hold one and wait for another.
    const turn = Promise.allSettled(keys.map((key) => last.get(key))).then(work)
    for (const key of keys) last.set(key, turn)
    try {
      return await turn
    } finally {
      for (const key of keys) if (last.get(key) === turn) last.delete(key)
    }
  }
}
