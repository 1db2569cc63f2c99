import { randomUUID } from 'node:crypto'
import { rmSync } from 'node:fs'
import { credentials, Metadata } from '@grpc/grpc-js'
import { MongoClient } from 'mongodb'
import { createConnection, type RowDataPacket } from 'mysql2/promise'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { DaprClient } from '#protos/dapr/proto/runtime/v1/dapr.ts'
import type { GetStateResponse } from '#protos/dapr/proto/runtime/v1/state.ts'
import { startSidecar } from '../../../platform/testing/sidecar.ts'
import { startComponentProcess } from '../../../platform/testing/component-process.ts'

// An installation whose Component changes from `state.mysql` to `state.outbox-mysql` (or mongodb)
// and back, with no other change, as its applications see it.

type Installation = {
  type: 'mysql' | 'mongodb'
  /** A value that is not JSON. */
  bytes: Buffer
  create(): Promise<{
    metadata: Record<string, string>
    /** Sets a key's expiry to one hour, where Dapr's own store cannot. */
    expireInAnHour?(key: string): Promise<unknown>
    drop(): Promise<unknown>
  }>
}

const { TEST_MYSQL_URL: mysqlUrl = '', TEST_MONGODB_URI: mongodbUri = '' } = process.env
const databaseName = () => `test_${randomUUID().replaceAll('-', '')}`

const installations: Installation[] = [
  {
    type: 'mysql',
    bytes: Buffer.from([0, 255, 254, 1]),
    async create() {
      const name = databaseName()
      const connection = await createConnection({ uri: mysqlUrl })
      const { username, password, host } = new URL(mysqlUrl)
      // state.mysql reads times as UTC, whatever the server's time zone.
      const connectionString = `${username}:${decodeURIComponent(password)}@tcp(${host})/?time_zone=%27%2B00%3A00%27`
      return {
        metadata: { connectionString, schemaName: name },
        drop: async () => {
          await connection.query(`DROP DATABASE IF EXISTS ${name}`)
          await connection.end()
        },
      }
    },
  },
  {
    type: 'mongodb',
    // Dapr's store sends bytes as a string, and servers stricter than MongoDB refuse what is not
    // text (value.test.ts covers it).
    bytes: Buffer.from('no JSON: ä'),
    async create() {
      const name = databaseName()
      const client = await new MongoClient(mongodbUri).connect()
      return {
        metadata: { connectionString: mongodbUri, databaseName: name },
        // The tests' server cannot add $$NOW and a number, which is how Dapr's store sets the
        // field.
        expireInAnHour: (key) =>
          client
            .db(name)
            .collection<{ _id: string }>('daprCollection')
            .updateOne({ _id: `app||${key}` }, { $set: { _ttl: new Date(Date.now() + 3_600_000) } }),
        drop: async () => {
          await client.db(name).dropDatabase()
          await client.close()
        },
      }
    },
  },
]

type Entry = { text: string; etag: string; expires: string | undefined }

/** Opens a store as an application sees it: JSON over HTTP, bytes over gRPC. */
async function openApplication(type: string, metadata: Record<string, string>, socketsFolder?: string) {
  const sidecar = await startSidecar({
    appId: 'app',
    components: [{ name: 'store', type, metadata }],
    ...(socketsFolder ? { folder: socketsFolder } : {}),
  })
  const client = new DaprClient(`127.0.0.1:${sidecar.grpcPort}`, credentials.createInsecure())
  const headers = new Metadata()
  headers.set('dapr-api-token', sidecar.apiToken)
  const get = (key: string) =>
    new Promise<GetStateResponse>((resolve, reject) => {
      client.getState({ storeName: 'store', key, consistency: 0, metadata: {} }, headers, (error, response) =>
        error ? reject(error) : resolve(response),
      )
    })
  return {
    /** Saves JSON over HTTP. */
    async save(
      items: {
        key: string
        value: unknown
        etag?: string
        metadata?: Record<string, string>
        options?: { concurrency: string }
      }[],
    ) {
      const response = await fetch(`http://127.0.0.1:${sidecar.httpPort}/v1.0/state/store`, {
        method: 'POST',
        headers: { 'dapr-api-token': sidecar.apiToken, 'content-type': 'application/json' },
        body: JSON.stringify(items),
      })
      return response.status
    },
    saveBytes: (key: string, value: Uint8Array) =>
      new Promise<void>((resolve, reject) => {
        const state = { key, value, etag: undefined, metadata: {}, options: undefined }
        client.saveState({ storeName: 'store', states: [state] }, headers, (error) =>
          error ? reject(error) : resolve(),
        )
      }),
    async read(keys: string[]): Promise<Record<string, Entry>> {
      const entries: Record<string, Entry> = {}
      for (const key of keys) {
        const { data, etag, metadata } = await get(key)
        entries[key] = { text: normal(data), etag, expires: metadata['ttlExpireTime'] }
      }
      return entries
    },
    async close() {
      client.close()
      await sidecar.close()
    },
  }
}

type Application = Awaited<ReturnType<typeof openApplication>>

async function using<T>(open: () => Promise<Application>, work: (application: Application) => Promise<T>): Promise<T> {
  const application = await open()
  try {
    return await work(application)
  } finally {
    await application.close()
  }
}

/** Returns JSON with sorted fields, as MongoDB's Go driver sorts them, and other bytes as is. */
function normal(data: Uint8Array): string {
  const text = Buffer.from(data).toString('latin1')
  try {
    return JSON.stringify(JSON.parse(Buffer.from(data).toString('utf8')), (_, value: unknown) =>
      value !== null && typeof value === 'object' && !Array.isArray(value)
        ? Object.fromEntries(Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1)))
        : value,
    )
  } catch {
    return text
  }
}

describe.each(installations)('state.$type', ({ type, bytes, create }) => {
  let installation: Awaited<ReturnType<Installation['create']>>
  const builtIn = () => openApplication(`state.${type}`, installation.metadata)

  async function ours() {
    const component = await startComponentProcess(`outbox-${type}`)
    const application = await openApplication(`state.outbox-${type}`, installation.metadata, component.folder)
    return {
      ...application,
      close: async () => {
        await application.close()
        await component.kill('SIGTERM')
        rmSync(component.folder, { recursive: true, force: true })
      },
    }
  }

  beforeAll(async () => {
    installation = await create()
  })
  afterAll(() => installation.drop())

  const written = {
    object: { b: [1, 2.5, null, true], a: { text: 'ä"😀' }, large: 3_000_000_000 },
    array: [1, { b: 2, a: 1 }],
    string: 'text',
    number: 42,
    boolean: true,
    'kéy 😀': { unicode: true },
  }
  const keys = [...Object.keys(written), 'expires', 'bytes', 'json-bytes', 'absent']

  test(`state.outbox-${type} takes over a full database and hands it back, every value with its etag`, async () => {
    const before = await using(builtIn, async (application) => {
      expect(await application.save(Object.entries(written).map(([key, value]) => ({ key, value })))).toBe(204)
      const { expireInAnHour } = installation
      const metadata: Record<string, string> = expireInAnHour ? {} : { ttlInSeconds: '3600' }
      expect(await application.save([{ key: 'expires', value: 'later', metadata }])).toBe(204)
      await expireInAnHour?.('expires')
      await application.saveBytes('json-bytes', Buffer.from('{"z":1, "a":"ä"}'))
      await application.saveBytes('bytes', bytes)
      return application.read(keys)
    })
    expect(before['object']?.text).toBe('{"a":{"text":"ä\\"😀"},"b":[1,2.5,null,true],"large":3000000000}')
    expect(before['expires']?.expires).toMatch(/Z$/)

    const after = await using(ours, async (application) => {
      expect(await application.read(keys)).toEqual(before)
      // An earlier etag still lets one writer through.
      const etag = before['object']?.etag ?? ''
      expect(
        await application.save([{ key: 'object', value: { new: 1 }, etag, options: { concurrency: 'first-write' } }]),
      ).toBe(204)
      expect(
        await application.save([{ key: 'object', value: { new: 2 }, etag, options: { concurrency: 'first-write' } }]),
      ).toBe(409)
      await application.save([
        { key: 'Number', value: 'not number' },
        { key: 'k'.repeat(400), value: [1] },
        { key: 'ours-expires', value: 1, metadata: { ttlInSeconds: '3600' } },
      ])
      await application.saveBytes('ours-bytes', bytes)
      return application.read([...keys, 'Number', 'k'.repeat(400), 'ours-bytes', 'ours-expires'])
    })
    expect(after['number']?.text).toBe('42')

    await using(builtIn, async (application) => {
      expect(await application.read(Object.keys(after))).toEqual(after)
      const etag = after['object']?.etag ?? ''
      expect(
        await application.save([{ key: 'object', value: { new: 3 }, etag, options: { concurrency: 'first-write' } }]),
      ).toBe(204)
    })
  }, 120_000)
})

test('the id column of a table from state.mysql is widened and compared byte by byte', async () => {
  const name = databaseName()
  const connection = await createConnection({ uri: mysqlUrl })
  const component = await startComponentProcess('outbox-mysql')
  try {
    await connection.query(`CREATE DATABASE ${name} CHARACTER SET latin1`)
    await connection.query(
      `CREATE TABLE ${name}.state (
         id VARCHAR(255) NOT NULL PRIMARY KEY, value JSON NOT NULL, isbinary BOOLEAN NOT NULL,
         insertDate TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
         updateDate TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
         eTag VARCHAR(36) NOT NULL
       )`,
    )
    await connection.query(
      `INSERT INTO ${name}.state (id, value, isbinary, eTag) VALUES ('app||schlüssel', '{"a": 1}', 0, 'one')`,
    )
    const url = new URL(mysqlUrl)
    url.pathname = `/${name}`
    await using(
      () => openApplication('state.outbox-mysql', { connectionString: url.href }, component.folder),
      async (application) =>
        expect(await application.read(['schlüssel', 'SCHLÜSSEL'])).toEqual({
          schlüssel: { text: '{"a":1}', etag: 'one', expires: undefined },
          SCHLÜSSEL: { text: '', etag: '', expires: undefined },
        }),
    )
    const [columns] = await connection.query<RowDataPacket[]>(
      `SHOW COLUMNS FROM ${name}.state WHERE Field IN ('id', 'expiredate')`,
    )
    expect(columns.map((column) => column['Type'])).toEqual(['varbinary(1024)', 'timestamp'])
  } finally {
    await component.kill('SIGTERM')
    rmSync(component.folder, { recursive: true, force: true })
    await connection.query(`DROP DATABASE IF EXISTS ${name}`)
    await connection.end()
  }
}, 60_000)
