import type { Logger } from './logger.ts'

export type OnClose = (what: string, close: () => unknown) => void

const closeDeadlineMs = 10_000

/**
 * Runs a process: `start` builds and listens, and hands each thing that must be closed to
 * `onClose`. SIGTERM and SIGINT close them in reverse order and end the process; a start that fails
 * ends it with 1, closing what had been opened.
 */
export async function runProcess(log: Logger, start: (onClose: OnClose) => Promise<void>): Promise<void> {
  const closers: { what: string; close: () => unknown }[] = []
  let closing = false
  const stop = async (exitCode: number) => {
    if (closing) return
    closing = true
    const timer = setTimeout(() => {
      log.error('did not stop in time')
      process.exit(1)
    }, closeDeadlineMs)
    for (const { what, close } of closers.toReversed()) {
      try {
        await close()
      } catch (err) {
        log.error({ err, what }, 'closing failed')
      }
    }
    clearTimeout(timer)
    process.exit(exitCode)
  }
  process.once('SIGTERM', () => void stop(0))
  process.once('SIGINT', () => void stop(0))
  try {
    await start((what, close) => closers.push({ what, close }))
    log.info('ready')
  } catch (err) {
    log.fatal({ err }, 'could not start')
    await stop(1)
  }
}
