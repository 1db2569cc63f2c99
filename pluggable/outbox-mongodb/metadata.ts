import { z } from 'zod'
import { identifier, parseSettings, wholeNumber } from '../host/settings.ts'
import { checkKafkaSettings } from '../outbox/kafka-settings.ts'
import { checkRelay, relaySettings } from '../outbox/settings.ts'

export const schema = z
  .object({
    connectionString: z
      .string()
      .regex(/^mongodb(\+srv)?:\/\/./, 'must be a URL like mongodb://user:password@host:27017/?replicaSet=name')
      .optional(),
    host: z.string().optional(),
    server: z.string().optional(),
    username: z.string().optional(),
    password: z.string().optional(),
    params: z.string().optional(),
    databaseName: identifier.default('daprStore'),
    collectionName: identifier.default('daprCollection'),
    maxConnections: wholeNumber(1, 500).default(20),
    ...relaySettings,
  })
  .superRefine(checkRelay)
  .superRefine(checkKafkaSettings)
  .refine(({ connectionString, host, server }) => connectionString ?? host ?? server, {
    path: ['connectionString'],
    message: 'is required',
  })
  .refine(({ host, server }) => !host || !server, { path: ['server'], message: 'must not be set together with host' })

type Parsed = z.output<typeof schema>

export type MongodbSettings = Parsed & { connectionString: string }

/**
 * Builds a connection string from the separate fields of Dapr's state.mongodb, which uses them as
 * is, without escaping.
 */
function fromFields({ host, server, username, password, databaseName, params = '' }: Parsed): string {
  const login = username && password ? `${username}:${password}@` : ''
  const query = params && !params.startsWith('?') ? `?${params}` : params
  return server
    ? `mongodb+srv://${login}${server}/${login ? databaseName : ''}${query}`
    : `mongodb://${login}${host}/${databaseName}${query}`
}

/**
 * Parses the Component metadata of `state.outbox-mongodb`, which includes that of Dapr's
 * `state.mongodb`. Throws INVALID_SETTING naming every invalid field.
 */
export function parseMongodbSettings(properties: Record<string, string>): MongodbSettings {
  const parsed = parseSettings(schema, properties, { ownPrefix: 'relay' })
  return { ...parsed, connectionString: parsed.connectionString ?? fromFields(parsed) }
}
