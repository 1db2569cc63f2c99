import { trace } from '@opentelemetry/api'
import { pino, stdSerializers, type Logger } from 'pino'

export type { Logger }

/**
 * JSON log lines on stdout, each with the trace it belongs to; `pretty` is for a person at a
 * terminal.
 */
export async function createLogger(o: { service: string; level: string; format: 'json' | 'pretty' }): Promise<Logger> {
  const options = {
    level: o.level,
    base: { service: o.service },
    timestamp: () => `,"time":"${new Date().toISOString()}"`,
    formatters: { level: (label: string) => ({ level: label }) },
    serializers: { err: stdSerializers.errWithCause },
    mixin() {
      const span = trace.getActiveSpan()?.spanContext()
      return span ? { traceId: span.traceId, spanId: span.spanId } : {}
    },
  }
  if (o.format === 'json') return pino(options)
  const { PinoPretty } = await import('pino-pretty')
  return pino(options, PinoPretty({ sync: true, ignore: 'pid,hostname,spanId', translateTime: 'SYS:HH:MM:ss.l' }))
}
