import { BSON, MongoServerError, type Document } from 'mongodb'
import type { OutputBinding } from '../host/binding-service.ts'
import { ComponentError } from '../host/errors.ts'
import type { ComponentDefinition } from '../host/components.ts'
import { explain, openMongo } from '../host/mongodb.ts'
import { ensureIndexes } from './indexes.ts'
import { parseMongodbBindingSettings, type MongodbBindingSettings } from './metadata.ts'
import { parseQuery } from './query.ts'

const maxTimeExpired = 50

function explainQuery(error: unknown): unknown {
  if (error instanceof MongoServerError) {
    if (error.code === maxTimeExpired) return new ComponentError('QUERY_TOO_SLOW', error.message, { cause: error })
    // The server rejected the query: unknown operators, wrong types.
    if (error.code === 2 || error.code === 9 || error.code === 14 || error.codeName?.startsWith('Location')) {
      return new ComponentError('INVALID_REQUEST', error.message, { cause: error })
    }
  }
  return explain(error)
}

/** Defines `bindings.mongodb`: read-only queries on one collection, limited in time and rows. */
export const mongodbBinding: ComponentDefinition<MongodbBindingSettings, OutputBinding> = {
  parse: parseMongodbBindingSettings,

  async open(settings, { log }) {
    const { maxTime: maxTimeMS, maxRows } = settings
    const client = openMongo(settings.connectionString, settings.maxConnections, maxTimeMS + 1_000)
    const collection = client.db(settings.databaseName).collection(settings.collectionName)
    let stopIndexes: () => Promise<void>
    try {
      await client.db(settings.databaseName).command({ ping: 1 })
      stopIndexes = await ensureIndexes(settings, log)
    } catch (error) {
      await client.close().catch(() => {})
      throw explain(error)
    }

    async function run(operation: string, data: Buffer): Promise<{ rows: Document[]; truncated: boolean }> {
      const query = parseQuery(operation, data, maxRows)
      switch (query.operation) {
        case 'count': {
          return { rows: [{ count: await collection.countDocuments(query.filter, { maxTimeMS }) }], truncated: false }
        }
        case 'find': {
          const limit = query.limit ?? maxRows + 1
          const rows = await collection
            .find(query.filter, {
              maxTimeMS,
              limit,
              ...(query.sort ? { sort: query.sort } : {}),
              ...(query.projection ? { projection: query.projection } : {}),
            })
            .toArray()
          return { rows: rows.slice(0, maxRows), truncated: rows.length > maxRows }
        }
        case 'aggregate': {
          const rows = await collection.aggregate([...query.pipeline, { $limit: maxRows + 1 }], { maxTimeMS }).toArray()
          return { rows: rows.slice(0, maxRows), truncated: rows.length > maxRows }
        }
      }
    }

    return {
      attributes: {
        'db.system.name': 'mongodb',
        'db.namespace': settings.databaseName,
        'db.collection.name': settings.collectionName,
      },
      async invoke(operation, data) {
        try {
          const { rows, truncated } = await run(operation, data)
          // Tells a caller without a limit that there are more rows.
          const metadata: Record<string, string> = truncated ? { truncated: 'true' } : {}
          return { data: Buffer.from(BSON.EJSON.stringify(rows, { relaxed: true }), 'utf8'), metadata }
        } catch (error) {
          throw explainQuery(error)
        }
      },
      async close() {
        await stopIndexes()
        await client.close()
      },
    }
  },
}
