import { randomUUID } from 'node:crypto'
import { Binary, MongoClient } from 'mongodb'
import { cloudEvent, type Change } from './outbox-path.ts'

/**
 * The mongodb driver alone: one state upsert and one outbox insert in a transaction, as durable as
 * the stores' own.
 */
export async function createPlainMongodb(
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
        // Repeats by itself what another transaction's write got in the way of.
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
