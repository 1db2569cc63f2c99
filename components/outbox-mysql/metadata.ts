import { z } from 'zod';
import { relayIncomplete, relayIsComplete, relaySettings } from '../outbox/settings.ts';
import { identifier, parseSettings, wholeNumber } from '../host/settings.ts';

const schema = z
  .object({
    connectionString: z
      .string('is required')
      .refine((text) => URL.canParse(text) && new URL(text).protocol === 'mysql:', 'must be a URL like mysql://user:password@host:3306/database')
      .refine((text) => !URL.canParse(text) || new URL(text).pathname.length > 1, 'names no database'),
    tableName: identifier.default('state'),
    maxConnections: wholeNumber(1, 500).default(10),
    ...relaySettings,
  })
  .refine(relayIsComplete, relayIncomplete);

export type MysqlSettings = z.output<typeof schema>;

/** The Component metadata of `state.outbox-mysql`. Throws INVALID_SETTING naming the field. */
export const parseMysqlSettings = (properties: Record<string, string>): MysqlSettings => parseSettings(schema, properties);
