import { trace } from '@opentelemetry/api'
import { pino, stdSerializers, type Logger } from 'pino'

export type { Logger }

/**
 * Creates a logger that writes JSON lines to stdout, each with the ids of the active trace, or
 * readable lines when `format` is `pretty`.
 */
export async function createLogger({
  service,
  level,
  format,
}: {
  service: string
  level: string
  format: 'json' | 'pretty'
}): Promise<Logger> {
  const options = {
    level,
    base: { service },
    timestamp: () => `,"time":"${new Date().toISOString()}"`,
    formatters: { level: (label: string) => ({ level: label }) },
    serializers: { err: stdSerializers.errWithCause },
    mixin() {
      const span = trace.getActiveSpan()?.spanContext()
      return span ? { traceId: span.traceId, spanId: span.spanId } : {}
    },
  }
  if (format === 'json') return pino(options)
  const { PinoPretty } = await import('pino-pretty')
  return pino(options, PinoPretty({ sync: true, ignore: 'pid,hostname,spanId', translateTime: 'SYS:HH:MM:ss.l' }))
}
