import { setLogger, setLogVerbosity, logVerbosity } from '@grpc/grpc-js'
import type { Logger } from '#lib/logger.ts'

/**
 * Sends the messages of grpc-js and Node's process warnings to the debug log. kafkajs 2 sets timers
 * to times in the past, which Node 24 reports once per process.
 *
 * grpc-js reports every header that is not printable ASCII as an error, and Dapr sends durations
 * such as `553.2µs`: that would be a line on stderr for each call.
 */
export function quietLibraries(log: Logger): void {
  const debug = (...parts: unknown[]) => log.debug({ from: 'grpc-js' }, parts.map(String).join(' '))
  setLogVerbosity(logVerbosity.ERROR)
  setLogger({ error: debug, info: debug, debug })
  process.removeAllListeners('warning')
  process.on('warning', (warning) => log.debug({ err: warning }, 'process warning'))
}
