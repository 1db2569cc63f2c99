import type { Database } from './database.ts'
import type { Tables } from './schema.ts'

/** Deletes up to `limit` rows that have expired, and returns how many it deleted. */
export async function deleteExpired(database: Database, tables: Tables, limit: number): Promise<number> {
  const result = await database.use((session) =>
    session.write(`DELETE FROM ${tables.state} WHERE expiredate <= CURRENT_TIMESTAMP LIMIT ${limit}`),
  )
  return result.affectedRows
}
