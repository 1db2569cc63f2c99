import { z } from 'zod';
import { identifier, parseSettings, wholeNumber } from '../host/settings.ts';
import { relayIncomplete, relayIsComplete, relaySettings } from '../outbox/settings.ts';

const schema = z
  .object({
    connectionString: z.string('is required').regex(/^mongodb(\+srv)?:\/\/./, 'must be a URL like mongodb://user:password@host:27017/?replicaSet=name'),
    databaseName: identifier.default('daprStore'),
    collectionName: identifier.default('state'),
    maxConnections: wholeNumber(1, 500).default(20),
    ...relaySettings,
  })
  .refine(relayIsComplete, relayIncomplete);

export type MongodbSettings = z.output<typeof schema>;

/** The Component metadata of `state.outbox-mongodb`. Throws INVALID_SETTING naming the field. */
export const parseMongodbSettings = (properties: Record<string, string>): MongodbSettings => parseSettings(schema, properties);
