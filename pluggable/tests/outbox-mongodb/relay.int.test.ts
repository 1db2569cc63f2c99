import { MongoClient } from 'mongodb'
import { describeRelay } from '../relay-suite.ts'
import { mongodbUnderTest } from '../stores.ts'
import type { StateDocument } from '../../outbox-mongodb/schema.ts'

describeRelay({
  ...mongodbUnderTest(),
  async lockRow({ name, properties }, key) {
    const client = await MongoClient.connect(properties['connectionString'] ?? '')
    const session = client.startSession()
    session.startTransaction()
    await client
      .db(name)
      .collection<StateDocument>('daprCollection')
      .updateOne({ _id: `app||${key}` }, { $set: { value: 'held' } }, { session })
    return {
      async release() {
        await session.abortTransaction()
        await session.endSession()
        await client.close()
      },
    }
  },
})
