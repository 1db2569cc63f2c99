import { ComponentError } from '../host/errors.ts'
import type { Database } from './database.ts'

/**
 * What a connector needs. A variable that a server no longer has stands for what it always does.
 */
const needed: Record<string, string> = { log_bin: 'ON', binlog_format: 'ROW', binlog_row_image: 'FULL' }

/**
 * Throws INVALID_SETTING if the server's binary log would not contain rows that a transaction
 * inserts and deletes: they would be lost.
 */
export async function requireBinaryLog(database: Database): Promise<void> {
  const rows = await database.use((session) =>
    session.plain('SHOW VARIABLES WHERE Variable_name IN (?)', [Object.keys(needed)]),
  )
  const wrong = rows.filter((row) => String(row['Value']).toUpperCase() !== needed[String(row['Variable_name'])])
  if (wrong.length === 0) return
  const found = wrong.map(
    (row) => `${String(row['Variable_name'])} is ${String(row['Value'])}, not ${needed[String(row['Variable_name'])]}`,
  )
  throw new ComponentError(
    'INVALID_SETTING',
    `metadata field "relay": "none" requires the database server's binary log (${found.join(', ')})`,
  )
}
