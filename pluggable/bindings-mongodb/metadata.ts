import { z } from 'zod'
import { durationMs, identifier, parseSettings, wholeNumber } from '../host/settings.ts'

const index = z.strictObject({
  key: z
    .record(z.string().min(1), z.union([z.literal(1), z.literal(-1), z.literal('text')]))
    .refine((key) => Object.keys(key).length > 0, 'must not be empty'),
  name: z.string().min(1).optional(),
  unique: z.boolean().optional(),
  sparse: z.boolean().optional(),
})

const indexes = z
  .string()
  .transform((text, context): unknown => {
    try {
      return JSON.parse(text) as unknown
    } catch {
      context.addIssue({ code: 'custom', message: 'must be JSON' })
      return z.NEVER
    }
  })
  .pipe(z.array(index))

export const schema = z.object({
  connectionString: z
    .string('is required')
    .regex(/^mongodb(\+srv)?:\/\/./, 'must be a URL like mongodb://user:password@host:27017/?replicaSet=name'),
  databaseName: identifier,
  collectionName: identifier,
  maxTime: durationMs.pipe(z.number().min(1).max(60_000)).default(2_000),
  maxRows: wholeNumber(1, 100_000).default(1_000),
  maxConnections: wholeNumber(1, 500).default(20),
  indexes: indexes.default([]),
})

export type MongodbBindingSettings = z.output<typeof schema>

/**
 * Parses the Component metadata of `bindings.mongodb`. Throws INVALID_SETTING naming every invalid
 * field.
 */
export const parseMongodbBindingSettings = (properties: Record<string, string>): MongodbBindingSettings =>
  parseSettings(schema, properties)
