import { randomUUID } from 'node:crypto'
import { MongoClient } from 'mongodb'
import { describeStore } from '../outbox/store-suite.ts'

const uri = process.env['TEST_MONGODB_URI'] ?? ''

describeStore({
  type: 'outbox-mongodb',
  brokers: process.env['TEST_KAFKA_BROKERS'] ?? '',
  async createDatabase() {
    const databaseName = `test_${randomUUID().replaceAll('-', '')}`
    const client = await new MongoClient(uri).connect()
    const db = client.db(databaseName)
    return {
      properties: { connectionString: uri, databaseName },
      waiting: () => db.collection('daprCollection_outbox').countDocuments(),
      drop: async () => {
        await db.dropDatabase()
        await client.close()
      },
    }
  },
})
