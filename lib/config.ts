import * as z from 'zod'
import { defaultTracesPerSecond } from './telemetry.ts'

const port = z.coerce.number().int().min(1).max(65535)

/** Settings of every process of the shop. */
export const logEnv = {
  LOG_LEVEL: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']).default('info'),
  LOG_FORMAT: z.enum(['json', 'pretty']).default('json'),
}

/** Settings of every service: its own ports, its sidecar's, and the tokens between the two. */
export const serviceEnv = {
  ...logEnv,
  APP_PORT: port,
  ADMIN_PORT: port,
  /** Loopback, or the address of a pod, which is where Kubernetes probes and Prometheus scrapes. */
  ADMIN_HOST: z.string().default('127.0.0.1'),
  DAPR_GRPC_PORT: port,
  DAPR_HTTP_PORT: port,
  DAPR_API_TOKEN: z.string().min(1),
  APP_API_TOKEN: z.string().min(1),
  OTEL_EXPORTER_OTLP_ENDPOINT: z.url().optional(),
  /** New traces a second that are recorded (lib/trace-sampler.ts). 0: none. */
  TRACES_PER_SECOND: z.coerce.number().int().min(0).default(defaultTracesPerSecond),
}

export type ServiceConfig = z.infer<z.ZodObject<typeof serviceEnv>>

/** Reads the environment by a zod shape. Throws one error that names every wrong variable. */
export function parseEnv<S extends z.ZodRawShape>(
  shape: S,
  env: NodeJS.ProcessEnv = process.env,
): z.infer<z.ZodObject<S>> {
  const result = z.object(shape).safeParse(env)
  if (result.success) return result.data
  const problems = result.error.issues.map((issue) => `  ${issue.path.join('.')}: ${issue.message}`)
  throw new Error(`invalid environment variables:\n${problems.join('\n')}`)
}
