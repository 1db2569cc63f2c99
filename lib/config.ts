import * as z from 'zod'

const port = z.coerce.number().int().min(1).max(65535)

/** What every process of the shop is told by its environment. */
export const logEnv = {
  LOG_LEVEL: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']).default('info'),
  LOG_FORMAT: z.enum(['json', 'pretty']).default('json'),
}

/**
 * What every service is told: its own ports, its sidecar's, and the tokens between the two. Nothing
 * else is configured here.
 */
export const serviceEnv = {
  ...logEnv,
  APP_PORT: port,
  ADMIN_PORT: port,
  DAPR_GRPC_PORT: port,
  DAPR_HTTP_PORT: port,
  DAPR_API_TOKEN: z.string().min(1),
  APP_API_TOKEN: z.string().min(1),
  OTEL_EXPORTER_OTLP_ENDPOINT: z.url().optional(),
}

/**
 * Reads the environment by a zod shape. Throws one error that names every variable that is wrong.
 */
export function parseEnv<S extends z.ZodRawShape>(
  shape: S,
  env: NodeJS.ProcessEnv = process.env,
): z.infer<z.ZodObject<S>> {
  const result = z.object(shape).safeParse(env)
  if (!result.success) {
    throw new Error(
      `the environment is not as it should be:\n${result.error.issues.map((i) => `  ${i.path.join('.')}: ${i.message}`).join('\n')}`,
    )
  }
  return result.data
}
