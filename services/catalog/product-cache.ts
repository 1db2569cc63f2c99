/** A product as it is sent: its JSON with its ETag, and who may see it. */
export type CachedProduct = { json: Buffer; etag: string; published: boolean; sellerId: string }

export type ProductCache = ReturnType<typeof createProductCache>

/** What an entry takes besides its JSON. */
const entryBytes = 500

type Entry = { product: CachedProduct; readAt: number; bytes: number }
type Reading = { result: Promise<CachedProduct | undefined>; isCurrent: boolean }

/**
 * Creates a memory of the products that were read last, of at most `maxBytes`. What this process
 * changes is dropped at once (`drop`); what another one changes is seen after `maxAgeMs` at most.
 * Calls for one product at the same time are one read.
 */
export function createProductCache(options: { maxBytes: number; maxAgeMs: number; now?: () => number }) {
  const { maxBytes, maxAgeMs, now = () => performance.now() } = options
  // The least recently used comes first.
  const entries = new Map<string, Entry>()
  const readings = new Map<string, Reading>()
  let bytes = 0

  function forget(id: string): void {
    bytes -= entries.get(id)?.bytes ?? 0
    entries.delete(id)
  }

  function remember(id: string, product: CachedProduct, readAt: number): void {
    forget(id)
    const entry = { product, readAt, bytes: product.json.length + entryBytes }
    entries.set(id, entry)
    bytes += entry.bytes
    for (const oldest of entries.keys()) {
      if (bytes <= maxBytes) break
      forget(oldest)
    }
  }

  return {
    /**
     * Returns the product with this id, from memory or by `read`, whose errors it throws. Absence
     * is not remembered.
     */
    async get(id: string, read: () => Promise<CachedProduct | undefined>): Promise<CachedProduct | undefined> {
      const known = entries.get(id)
      if (known && now() - known.readAt < maxAgeMs) {
        entries.delete(id)
        entries.set(id, known)
        return known.product
      }
      const readAt = now()
      const inProgress = readings.get(id)
      if (inProgress) return inProgress.result
      const reading: Reading = { result: read(), isCurrent: true }
      readings.set(id, reading)
      try {
        const product = await reading.result
        if (product && reading.isCurrent) remember(id, product, readAt)
        return product
      } finally {
        if (readings.get(id) === reading) readings.delete(id)
      }
    },

    /** Forgets a product that has changed; a read that began before is not remembered. */
    drop(id: string): void {
      forget(id)
      const reading = readings.get(id)
      if (reading) reading.isCurrent = false
      readings.delete(id)
    },

    get bytes() {
      return bytes
    },
  }
}
