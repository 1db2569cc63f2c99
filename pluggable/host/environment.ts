import { z } from 'zod'
import { logEnv, parseEnv } from '#lib/config.ts'

const shape = {
  ...logEnv,
  DAPR_COMPONENTS_SOCKETS_FOLDER: z.string().default('/tmp/dapr-components-sockets'),
  METRICS_PORT: z.coerce.number().int().min(0).max(65_535).optional(),
  METRICS_HOST: z.string().default('127.0.0.1'),
  COMPONENT_OWNER: z.string().default(''),
  OTEL_EXPORTER_OTLP_ENDPOINT: z.url().or(z.literal('')).optional(),
}

export type Environment = {
  socketsFolder: string
  metricsPort?: number
  metricsHost: string
  owner: string
  otlpEndpoint?: string
  logLevel: string
  logFormat: 'json' | 'pretty'
}

/** The name of a component in its log lines and spans. */
export const serviceName = (type: string, { owner }: Environment): string => (owner ? `${owner}-${type}` : type)

/**
 * Reads what a component takes from its environment: where to listen, how to log, where to send
 * spans. Everything else is Component metadata. Throws Error naming every invalid variable.
 */
export function readEnvironment(env: NodeJS.ProcessEnv): Environment {
  const parsed = parseEnv(shape, env)
  return {
    socketsFolder: parsed.DAPR_COMPONENTS_SOCKETS_FOLDER,
    ...(parsed.METRICS_PORT === undefined ? {} : { metricsPort: parsed.METRICS_PORT }),
    metricsHost: parsed.METRICS_HOST,
    owner: parsed.COMPONENT_OWNER,
    ...(parsed.OTEL_EXPORTER_OTLP_ENDPOINT ? { otlpEndpoint: parsed.OTEL_EXPORTER_OTLP_ENDPOINT } : {}),
    logLevel: parsed.LOG_LEVEL,
    logFormat: parsed.LOG_FORMAT,
  }
}
