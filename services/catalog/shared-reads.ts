import type { StateStore } from '#lib/dapr.ts'
import { activeContext, inTraceOf } from '#lib/telemetry.ts'

/** With one call in hand there would be a wait for it; with more of them, less to share. */
const parallel = 2
const maxKeys = 32

type Reader = {
  key: string
  context: ReturnType<typeof activeContext>
  resolve: (text: string | undefined) => void
  reject: (error: unknown) => void
}

/**
 * Returns a function that reads the text of one key. Reads that come while others are in hand share
 * one call: most of what a read costs is the way through the sidecar, which is the same for 32 keys
 * as for one. No read gets a value from before it was asked for. Throws what the store throws.
 */
export function createSharedReads({ bulkText }: Pick<StateStore, 'bulkText'>) {
  const waiting: Reader[] = []
  let running = 0
  let scheduled = false

  async function readTogether(readers: Reader[]): Promise<void> {
    try {
      const keys = [...new Set(readers.map(({ key }) => key))]
      const found = await inTraceOf(readers[0]!.context, () => bulkText(keys))
      for (const { key, resolve } of readers) resolve(found.get(key)?.text)
    } catch (error) {
      for (const { reject } of readers) reject(error)
    }
  }

  function pump(): void {
    scheduled = false
    while (running < parallel && waiting.length > 0) {
      running += 1
      void readTogether(waiting.splice(0, maxKeys)).finally(() => {
        running -= 1
        pump()
      })
    }
  }

  return (key: string): Promise<string | undefined> =>
    new Promise((resolve, reject) => {
      waiting.push({ key, context: activeContext(), resolve, reject })
      if (scheduled) return
      scheduled = true
      // What arrived in the same read of the socket goes together.
      setImmediate(pump)
    })
}
