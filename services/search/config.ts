import * as z from 'zod'

/** Settings of search besides those of every service. */
export const settings = {
  /** The alias that is searched. Shops that share one OpenSearch each have their own. */
  SEARCH_INDEX: z
    .string()
    .regex(/^[a-z][a-z0-9_]{0,99}$/, 'must be lower-case letters, digits and _')
    .default('products'),
}
