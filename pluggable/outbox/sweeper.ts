import type { Logger } from '#lib/logger.ts'

/**
 * Deletes expired rows in small batches, about once a minute. `deleteSome` returns how many rows it
 * deleted; a full batch is followed by the next at once.
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
    // Random, so that replicas do not all sweep at once.
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
