import { Binary, type ClientSession } from 'mongodb'
import type { RouterRow } from '../outbox/event-router.ts'
import type { Collections } from './schema.ts'

/**
 * Inserts documents for Debezium's MongoDB outbox event router and deletes them again, within the caller's transaction: what
 * stays is their insertion in the change stream, and the collection is always empty for everybody else.
 */
export async function passToRouter(session: ClientSession, { router }: Collections, rows: RouterRow[]): Promise<void> {
  // Each is gone before the next one comes: two events may have the same id.
  for (const { id, aggregatetype, aggregateid, type, payload } of rows) {
    await router.insertOne({ _id: id, aggregatetype, aggregateid, type, payload: new Binary(payload) }, { session })
    await router.deleteOne({ _id: id }, { session })
  }
}
