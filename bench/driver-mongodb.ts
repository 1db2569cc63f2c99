import { randomUUID } from 'node:crypto'
import { Binary, MongoClient } from 'mongodb'
import { cloudEvent, type Change } from './contender.ts'

/**
 * Connects the mongodb driver alone: one state upsert and one outbox insert per transaction, as
 * durable as the outbox store's.
 */
export async function createDriverMongodb(
  uri: string,
  databaseName: string,
): Promise<{ transact: (change: Change) => Promise<void>; close: () => Promise<void> }> {
  const client = await MongoClient.connect(uri, { maxPoolSize: 64, writeConcern: { w: 'majority', journal: true } })
  const db = client.db(databaseName)
  const state = await db.createCollection<{ _id: string; value: unknown; _etag: string; _ttl: null }>('state')
  const outbox = await db.createCollection<{ partitionKey: string; eventId: string; payload: Binary; created: Date }>(
    'outbox',
  )
  return {
    async transact(change) {
      await client.withSession((session) =>
        // The driver retries on a write conflict.
        session.withTransaction(
          async () => {
            await state.updateOne(
              { _id: change.key },
              { $set: { value: change.value, _etag: randomUUID(), _ttl: null } },
              { upsert: true, session },
            )
            await outbox.insertOne(
              {
                partitionKey: change.key,
                eventId: change.id,
                payload: new Binary(Buffer.from(cloudEvent(change))),
                created: new Date(),
              },
              { session },
            )
          },
          { readConcern: { level: 'snapshot' }, writeConcern: { w: 'majority', journal: true } },
        ),
      )
    },
    close: () => client.close(),
  }
}
