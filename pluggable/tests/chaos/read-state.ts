import { MongoClient } from 'mongodb'
import { createConnection, type RowDataPacket } from 'mysql2/promise'
import { z } from 'zod'
import type { FinalState } from './checker.ts'

const written = z.object({ by: z.string() })

/**
 * Reads a store's database with the database's own driver: rows `done:<transaction>` and, per key,
 * `state:<key>` with the transaction that wrote it.
 * @param properties the store's metadata
 */
export async function readState(properties: Record<string, string>): Promise<FinalState> {
  const state: FinalState = { committed: new Set(), last: new Map() }
  const add = (id: string, value: () => unknown) => {
    const [, kind, name = ''] = /\|\|(done|state):(.*)$/.exec(id) ?? []
    if (kind === 'done') state.committed.add(name)
    if (kind === 'state') state.last.set(name, written.parse(value()).by)
  }
  const { connectionString = '', databaseName } = properties
  if (databaseName === undefined) {
    const connection = await createConnection({ uri: connectionString, jsonStrings: true })
    const [rows] = await connection.query<RowDataPacket[]>('SELECT id, value FROM state')
    await connection.end()
    for (const row of rows) add(String(row['id']), () => JSON.parse(String(row['value'])))
  } else {
    const client = await MongoClient.connect(connectionString)
    const documents = client.db(databaseName).collection<{ _id: string; value: unknown }>('daprCollection').find()
    for await (const { _id, value } of documents) add(_id, () => value)
    await client.close()
  }
  return state
}
