import { z } from 'zod'

const schema = z.object({
  DAPR_COMPONENTS_SOCKETS_FOLDER: z.string().default('/tmp/dapr-components-sockets'),
  METRICS_PORT: z.coerce.number().int().min(0).max(65_535).optional(),
  METRICS_HOST: z.string().default('127.0.0.1'),
  COMPONENT_OWNER: z.string().default(''),
  OTEL_EXPORTER_OTLP_ENDPOINT: z.url().or(z.literal('')).optional(),
  LOG_LEVEL: z.string().default('info'),
  LOG_FORMAT: z.enum(['json', 'pretty']).default('json'),
})

export type Environment = {
  socketsFolder: string
  metricsPort?: number
  metricsHost: string
  owner: string
  otlpEndpoint?: string
  logLevel: string
  logFormat: 'json' | 'pretty'
}

/** The name under which a component's log and spans appear. */
export const serviceName = (type: string, { owner }: Environment): string => (owner ? `${owner}-${type}` : type)

/**
 * What a component takes from its environment: where to listen, how to log, where spans go.
 * Everything else is Component metadata.
 */
export function readEnvironment(env: NodeJS.ProcessEnv): Environment {
  const parsed = schema.safeParse(env)
  if (!parsed.success)
    throw new Error(parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`).join('; '))
  const { data } = parsed
  return {
    socketsFolder: data.DAPR_COMPONENTS_SOCKETS_FOLDER,
    ...(data.METRICS_PORT === undefined ? {} : { metricsPort: data.METRICS_PORT }),
    metricsHost: data.METRICS_HOST,
    owner: data.COMPONENT_OWNER,
    ...(data.OTEL_EXPORTER_OTLP_ENDPOINT ? { otlpEndpoint: data.OTEL_EXPORTER_OTLP_ENDPOINT } : {}),
    logLevel: data.LOG_LEVEL,
    logFormat: data.LOG_FORMAT,
  }
}
