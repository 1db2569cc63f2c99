import { z } from 'zod'
import { checkKafkaSettings } from '../outbox/kafka-settings.ts'
import { checkRelay, relaySettings } from '../outbox/settings.ts'
import { identifier, parseSettings, wholeNumber } from '../host/settings.ts'
import { parseConnectionString, type MysqlAddress } from './connection-string.ts'

export const schema = z
  .object({
    connectionString: z.string('is required').superRefine((text, context) => {
      // schemaName may name the database: that is checked below.
      const problem = problemOf(() => parseConnectionString(text, 'any'))
      if (problem) context.addIssue({ code: 'custom', message: problem })
    }),
    schemaName: identifier.optional(),
    pemPath: z.string().optional(),
    tableName: identifier.default('state'),
    maxConnections: wholeNumber(1, 500).default(10),
    ...relaySettings,
  })
  .superRefine(checkRelay)
  .superRefine(checkKafkaSettings)
  .superRefine(({ connectionString, schemaName, pemPath }, context) => {
    const problem = problemOf(() => {
      const { tls } = parseConnectionString(connectionString, schemaName)
      if (tls === 'verify-by-pem' && pemPath === undefined) throw new Error('tls=custom needs pemPath')
    })
    if (problem) context.addIssue({ code: 'custom', path: ['connectionString'], message: problem })
  })

function problemOf(work: () => unknown): string | undefined {
  try {
    work()
    return undefined
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}

type Parsed = z.output<typeof schema>

export type MysqlSettings = Omit<Parsed, 'connectionString' | 'schemaName'> & { address: MysqlAddress }

/**
 * Parses the Component metadata of `state.outbox-mysql`, which includes that of Dapr's
 * `state.mysql`. Throws INVALID_SETTING naming every invalid field.
 */
export function parseMysqlSettings(properties: Record<string, string>): MysqlSettings {
  const { connectionString, schemaName, ...settings } = parseSettings(schema, properties, { ownPrefix: 'relay' })
  return { ...settings, address: parseConnectionString(connectionString, schemaName) }
}
