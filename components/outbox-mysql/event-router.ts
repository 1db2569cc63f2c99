import type { RouterRow } from '../outbox/event-router.ts'
import type { Session } from './database.ts'
import type { Tables } from './schema.ts'

/**
 * Inserts rows for Debezium's outbox event router and deletes them again, within the caller's transaction: what stays is
 * their insertion in the binary log, and the table is always empty for everybody else.
 */
export async function passToRouter(session: Session, tables: Tables, rows: RouterRow[]): Promise<void> {
  for (const { id, aggregatetype, aggregateid, sequence, type, payload } of rows) {
    await session.write(`INSERT INTO ${tables.router} (id, aggregatetype, aggregateid, sequence, type, payload) VALUES (?, ?, ?, ?, ?, ?)`, [
      id, aggregatetype, aggregateid, sequence, type, payload,
    ])
    await session.write(`DELETE FROM ${tables.router} WHERE aggregateid = ? AND sequence = ?`, [aggregateid, sequence])
  }
}
