import { setLogger, setLogVerbosity, logVerbosity } from '@grpc/grpc-js'
import { pino, type Logger } from 'pino'
import { serviceName, type Environment } from './environment.ts'

/** A component's logger: JSON lines on stdout, or readable ones with LOG_FORMAT=pretty. */
export function createComponentLog(type: string, environment: Environment): Logger {
  const options = {
    level: environment.logLevel,
    base: { service: serviceName(type, environment) },
    timestamp: pino.stdTimeFunctions.isoTime,
  }
  if (environment.logFormat === 'pretty') return pino({ ...options, transport: { target: 'pino-pretty' } })
  return pino(options)
}

/**
 * Sends what grpc-js and Node's process warnings have to say to the debug log: kafkajs 2 sets
 * timers to times in the past, which Node 24 reports once per process.
 *
 * grpc-js reports every header that is not printable ASCII as an error, and Dapr sends durations
 * such as `553.2µs`: on stderr that would be a line for each call.
 */
export function quietLibraries(log: Logger): void {
  const debug = (...parts: unknown[]) => log.debug({ from: 'grpc-js' }, parts.map(String).join(' '))
  setLogVerbosity(logVerbosity.ERROR)
  setLogger({ error: debug, info: debug, debug })
  process.removeAllListeners('warning')
  process.on('warning', (warning) => log.debug({ err: warning }, 'process warning'))
}
