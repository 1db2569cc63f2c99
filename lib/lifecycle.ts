import type { Logger } from './logger.ts'

export type OnClose = (what: string, close: () => unknown) => void

const closeDeadlineMs = 10_000

/**
 * Runs a process: `start` builds and listens, and passes everything that must be closed to
 * `onClose`. SIGTERM and SIGINT close it in reverse order and end the process with 0, or with 1 if
 * closing failed or took longer than 10 s. A start that fails closes what was opened and ends the
 * process with 1.
 */
export async function runProcess(log: Logger, start: (onClose: OnClose) => Promise<void>): Promise<void> {
  const closers: { what: string; close: () => unknown }[] = []
  let closing = false

  async function stop(exitCode: number): Promise<void> {
    if (closing) return
    closing = true
    setTimeout(() => {
      log.error('did not stop in time')
      process.exit(1)
    }, closeDeadlineMs)
    let failed = false
    for (const { what, close } of closers.toReversed()) {
      try {
        await close()
      } catch (err) {
        failed = true
        log.error({ err, what }, 'closing failed')
      }
    }
    process.exit(failed ? 1 : exitCode)
  }

  const onSignal = (signal: NodeJS.Signals) => {
    log.info({ signal }, 'stopping')
    void stop(0)
  }
  process.once('SIGTERM', onSignal)
  process.once('SIGINT', onSignal)
  try {
    await start((what, close) => closers.push({ what, close }))
    log.info('ready')
  } catch (err) {
    log.fatal({ err }, 'could not start')
    await stop(1)
  }
}
