import { randomUUID } from 'node:crypto'
import { MongoClient } from 'mongodb'
import { afterAll, expect, test } from 'vitest'
import { deleteExpired } from '../../outbox-mongodb/expiry.ts'
import { collectionsOf, migrate, replaceFormerIndex } from '../../outbox-mongodb/schema.ts'

const client = new MongoClient(process.env['TEST_MONGODB_URI'] ?? '')
const db = client.db(`test_schema_${randomUUID().slice(0, 8)}`)
afterAll(async () => {
  await db.dropDatabase()
  await client.close()
})

const newCollections = () => collectionsOf(db, `state_${randomUUID().slice(0, 8)}`)
const document = (_id: string, _ttl: Date | null) => ({ _id, value: 1, _etag: 'e', _ttl })
const indexNames = async ({ state }: ReturnType<typeof newCollections>) =>
  (await state.indexes()).map(({ name }) => name).toSorted()

test('only documents that expire are in an index', async () => {
  const collections = newCollections()
  await migrate(db, collections)
  await migrate(db, collections)
  expect(await collections.state.indexes()).toMatchObject([
    { name: '_id_' },
    { name: 'expiry', expireAfterSeconds: 0, partialFilterExpression: { _ttl: { $gt: new Date(0) } } },
  ])
})

test('the index of an earlier version is replaced, and expired documents are still found', async () => {
  const collections = newCollections()
  await migrate(db, collections)
  await collections.state.dropIndex('expiry')
  await collections.state.createIndex({ _ttl: 1 }, { expireAfterSeconds: 0 })
  const now = new Date()
  await collections.state.insertMany([
    document('kept', null),
    document('later', new Date(now.getTime() + 60_000)),
    document('expired', new Date(now.getTime() - 60_000)),
  ])
  await Promise.all([replaceFormerIndex(collections), replaceFormerIndex(collections)])
  expect(await indexNames(collections)).toEqual(['_id_', 'expiry'])
  await replaceFormerIndex(collections)

  expect(await deleteExpired(collections, now, 10)).toBe(1)
  expect((await collections.state.find().toArray()).map(({ _id }) => _id).toSorted()).toEqual(['kept', 'later'])
})
