import type { Logger } from 'pino'

/**
 * Deletes what has expired, in small batches, once a minute. `deleteSome` returns how many rows it
 * deleted; a full batch is followed at once by the next.
 */
export function startSweeper(
  deleteSome: (limit: number) => Promise<number>,
  log: Logger,
  everyMs = 60_000,
): { close(): Promise<void> } {
  const batch = 500
  let closing = false
  let timer: NodeJS.Timeout | undefined
  let sweeping: Promise<void> = Promise.resolve()

  async function sweep(): Promise<void> {
    try {
      while (!closing && (await deleteSome(batch)) === batch);
    } catch (error) {
      log.debug({ err: error }, 'sweep failed')
    }
    if (!closing) plan()
  }
  function plan(): void {
    // Spread by chance, so that replicas do not all sweep at once.
    timer = setTimeout(
      () => {
        sweeping = sweep()
      },
      everyMs * (0.5 + Math.random()),
    )
    timer.unref()
  }
  plan()
  return {
    async close() {
      closing = true
      clearTimeout(timer)
      await sweeping
    },
  }
}
