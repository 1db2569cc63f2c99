import { MongoServerError, type Binary, type Collection, type Db } from 'mongodb'
import { ComponentError } from '../host/errors.ts'

export type StateDocument = { _id: string; value: unknown; _etag: string; _ttl: Date | null }

/** `position` orders the rows: it rises within a partition key and otherwise follows the clock. */
export type OutboxDocument = {
  partitionKey: string
  /** The event's own topic, if it has one. */
  topic?: string
  sequence: number
  position: number
  bytes: number
  payload: Binary
  created: Date
}

export type SequenceDocument = { _id: string; last: number; position: number }

export type LeaseDocument = { _id: string; owner: string; token: number; expires: Date; asked?: Date }

/**
 * As Debezium's MongoDB outbox event router expects it. Each document is deleted before its
 * transaction commits: only the change stream has it.
 */
export type RouterDocument = { _id: string; aggregatetype: string; aggregateid: string; type: string; payload: Binary }

type VersionDocument = { _id: string; version: number }

/** The collections of one store. All names begin with the state collection's. */
export type Collections = {
  state: Collection<StateDocument>
  outbox: Collection<OutboxDocument>
  sequence: Collection<SequenceDocument>
  lease: Collection<LeaseDocument>
  router: Collection<RouterDocument>
  version: Collection<VersionDocument>
}

export const collectionsOf = (db: Db, name: string): Collections => ({
  state: db.collection(name),
  outbox: db.collection(`${name}_outbox`),
  sequence: db.collection(`${name}_outbox_sequence`),
  lease: db.collection(`${name}_outbox_lease`),
  router: db.collection(`${name}_outbox_router`),
  version: db.collection(`${name}_outbox_version`),
})

const newestVersion = 2

/**
 * By which a server deletes expired documents. It holds only those that expire: in the index that
 * Dapr's state.mongodb creates, `formerIndex`, each of the others has an entry for null.
 */
const expiryIndex = {
  name: 'expiry',
  expireAfterSeconds: 0,
  partialFilterExpression: { _ttl: { $gt: new Date(0) } },
}
const formerIndex = '_ttl_1'

/**
 * Creates the collections and indexes; a transaction should not create collections. Every step may
 * run twice, and in several components at the same time. Throws INVALID_SETTING if the schema is
 * newer than this program.
 */
export async function migrate(db: Db, collections: Collections): Promise<void> {
  const found = await collections.version.findOne({ _id: 'schema' })
  if (found && found.version > newestVersion) {
    throw new ComponentError(
      'INVALID_SETTING',
      `the schema has version ${found.version}, this component supports up to ${newestVersion}`,
    )
  }
  if (found?.version === newestVersion) return
  for (const collection of Object.values(collections)) {
    await db.createCollection(collection.collectionName).catch((error: unknown) => {
      if (!(error instanceof MongoServerError && error.codeName === 'NamespaceExists')) throw error
    })
  }
  await collections.state.createIndex({ _ttl: 1 }, expiryIndex)
  await collections.outbox.createIndex({ position: 1 }, { name: 'position' })
  await collections.lease.updateOne(
    { _id: 'relay' },
    { $setOnInsert: { owner: '', token: 0, expires: new Date(0) } },
    { upsert: true },
  )
  await collections.version.updateOne({ _id: 'schema' }, { $set: { version: newestVersion } }, { upsert: true })
}

/**
 * Replaces the index of an earlier version. A large collection takes its time, so nobody waits for
 * it; one that is interrupted begins again at the next start.
 */
export async function replaceFormerIndex({ state }: Collections): Promise<void> {
  const indexes = await state.indexes()
  if (!indexes.some(({ name }) => name === formerIndex)) return
  await state.createIndex({ _ttl: 1 }, expiryIndex)
  // Another component may have done so.
  await state.dropIndex(formerIndex).catch((error: unknown) => {
    if (!(error instanceof MongoServerError && error.codeName === 'IndexNotFound')) throw error
  })
}
