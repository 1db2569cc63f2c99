import { Binary, MongoClient, ObjectId } from 'mongodb'
import { pino } from 'pino'
import { expect, test } from 'vitest'
import { createMongodbRelaySource } from '../../outbox-mongodb/relay-source.ts'
import { collectionsOf, migrate } from '../../outbox-mongodb/schema.ts'
import { mongodbUnderTest } from '../stores.ts'

test('a backlog is read in the order of its positions, with gaps and with what arrives meanwhile', async () => {
  const { properties, name, drop } = await mongodbUnderTest().createDatabase()
  const client = await MongoClient.connect(properties['connectionString'] ?? '')
  const collections = collectionsOf(client.db(name), 'state')
  await migrate(client.db(name), collections)
  const source = createMongodbRelaySource(collections, () => new Date(), pino({ level: 'silent' }))
  const add = (positions: number[]) =>
    collections.outbox.insertMany(
      positions.map((position) => ({
        _id: new ObjectId(),
        partitionKey: 'k',
        sequence: position,
        position,
        bytes: 1,
        payload: new Binary(Buffer.from('1')),
        created: new Date(),
      })),
    )
  const lease = await source.acquireLease(60_000)
  if (!lease) throw new Error('no lease')
  try {
    const now = Date.now()
    const from = (start: number, count: number) => Array.from({ length: count }, (_, n) => start + n)
    const waiting = [...from(1, 95), ...from(5_000_000, 30), ...from(now - 100, 50)]
    await add(waiting)
    const later = from(now + 1_000, 25)
    const read: number[] = []
    for (let round = 0; read.length < waiting.length + later.length && round < 100; round += 1) {
      if (round === 3) await add(later)
      const rows = await source.read({ rows: 20, bytes: 1_000_000 })
      read.push(...rows.map(({ sequence }) => sequence))
      if (rows.length > 0) await source.remove(rows, lease)
    }
    expect(read).toEqual([...waiting, ...later])
    expect(await source.read({ rows: 20, bytes: 1_000_000 })).toEqual([])
  } finally {
    await client.close()
    await drop()
  }
})
