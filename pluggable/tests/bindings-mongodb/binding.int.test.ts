import { randomUUID } from 'node:crypto'
import type { ServiceError } from '@grpc/grpc-js'
import { MongoClient } from 'mongodb'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { OutputBindingClient, type InvokeResponse } from '#protos/dapr/proto/components/v1/bindings.ts'
import { startComponentProcess, type ComponentProcess } from '../../../platform/testing/component-process.ts'
import { createClient } from '../component-client.ts'

const uri = process.env['TEST_MONGODB_URI'] ?? ''
const databaseName = `test_${randomUUID().replaceAll('-', '')}`
const products = Array.from({ length: 25 }, (_, n) => ({
  _id: `app||product:${String(n).padStart(2, '0')}`,
  value: { listedIn: [n % 2 === 0 ? 'even' : 'odd', 'all'], n },
}))

let mongo: MongoClient
let component: ComponentProcess
let client: ReturnType<typeof createClient<OutputBindingClient>>

const init = (properties: Record<string, string>) => client.call((c) => c.init, { metadata: { properties } })
const settings = {
  connectionString: uri,
  databaseName,
  collectionName: 'state',
  maxRows: '20',
  indexes: JSON.stringify([{ key: { 'value.listedIn': 1, _id: 1 }, name: 'listing' }]),
}

async function query(operation: string, data: unknown) {
  const response = await client.call<unknown, InvokeResponse>((c) => c.invoke as never, {
    operation,
    data: Buffer.from(JSON.stringify(data)),
    metadata: {},
  })
  return {
    rows: JSON.parse(Buffer.from(response.data).toString()) as { _id: string; count?: number }[],
    metadata: response.metadata,
  }
}

beforeAll(async () => {
  mongo = await new MongoClient(uri).connect()
  await mongo.db(databaseName).collection<(typeof products)[number]>('state').insertMany(products)
  component = await startComponentProcess('bindings-mongodb')
  client = createClient(OutputBindingClient, component.socket, 'query')
  await init(settings)
}, 30_000)

afterAll(async () => {
  client.close()
  await component.kill('SIGTERM')
  await mongo.db(databaseName).dropDatabase()
  await mongo.close()
})

test('pages through a listing by keyset without losing or repeating a row', async () => {
  const seen: string[] = []
  for (let cursor = ''; ;) {
    const { rows } = await query('find', {
      filter: { 'value.listedIn': 'even', _id: { $gt: cursor } },
      sort: { _id: 1 },
      limit: 5,
    })
    seen.push(...rows.map(({ _id }) => _id))
    if (rows.length < 5) break
    cursor = rows.at(-1)?._id ?? ''
  }
  expect(seen).toEqual(products.filter(({ value }) => value.n % 2 === 0).map(({ _id }) => _id))
})

test('counts', async () => {
  expect((await query('count', { filter: { 'value.listedIn': 'odd' } })).rows).toEqual([{ count: 12 }])
})

test('aggregates', async () => {
  const { rows } = await query('aggregate', {
    pipeline: [{ $match: { 'value.listedIn': 'odd' } }, { $group: { _id: null, count: { $sum: 1 } } }],
  })
  expect(rows).toEqual([{ _id: null, count: 12 }])
})

test('stops at the row limit and reports it', async () => {
  const { rows, metadata } = await query('find', {})
  expect([rows.length, metadata]).toEqual([20, { truncated: 'true' }])
})

test('creates its indexes at Init, and a second Init with the same ones is harmless', async () => {
  await init(settings)
  const names = (await mongo.db(databaseName).collection('state').indexes()).map(({ name }) => name)
  expect(names.toSorted()).toEqual(['_id_', 'listing'])
})

test('a sparse index holds nothing for documents without its fields', async () => {
  const state = mongo.db(databaseName).collection('state')
  await init({
    ...settings,
    indexes: JSON.stringify([{ key: { 'value.rare': 1, 'value.newest': 1 }, name: 'rare', sparse: true }]),
  })
  expect((await state.indexes()).find(({ name }) => name === 'rare')).toMatchObject({ sparse: true })
  await state.insertOne({ value: { rare: 'x', newest: 'a' } })
  const plan = await state
    .find({ 'value.rare': 'x', 'value.newest': { $gt: '' } })
    .sort({ 'value.newest': 1 })
    .explain('executionStats')
  expect(plan['executionStats']).toMatchObject({ nReturned: 1, totalKeysExamined: 1 })
})

test('a query that would write is refused', async () => {
  const error = await query('aggregate', { pipeline: [{ $out: 'stolen' }] }).catch((thrown: ServiceError) => thrown)
  expect((error as ServiceError).details).toMatch(/^INVALID_REQUEST: .*\$out/)
})

test('Init fails on wrong index settings and names them', async () => {
  const error = await init({ ...settings, indexes: '[{"key":{}}]' }).catch((thrown: ServiceError) => thrown)
  expect((error as ServiceError).details).toMatch(/^INVALID_SETTING: .*indexes/)
})

test('Init fails on an index of the same name that is another one', async () => {
  const other = JSON.stringify([{ key: { 'value.other': 1 }, name: 'listing' }])
  const error = await init({ ...settings, indexes: other }).catch((thrown: ServiceError) => thrown)
  expect((error as ServiceError).details).toMatch(/^INVALID_SETTING: .*indexes/)
})
