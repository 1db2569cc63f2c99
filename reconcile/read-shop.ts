// Reads what the rules compare, straight from the databases and the provider: the one place that
// looks behind the services.
import { MongoClient } from 'mongodb'
import { createPool, type Pool, type RowDataPacket } from 'mysql2/promise'
import * as z from 'zod'
import {
  adjustmentSchema,
  chargeSchema,
  orderSchema,
  paymentSchema,
  reservationSchema,
  stockSchema,
  type Charge,
  type ShopState,
} from './shop-state.ts'

export type Addresses = {
  /** As administrator. */
  mysqlUrl: string
  mongodbUri: string
  provider: { url: string; apiKey: string }
}

const rowsPerRead = 5_000
const chargesPerRead = 5_000

/**
 * Reads everything, a few thousand rows at a time. The databases are read one after the other while
 * the shop may be at work, so what is read need not be from one instant.
 * @param onRead called with the number of rows read so far
 * @throws Error when a database or the provider cannot be read
 */
export async function readShop(
  { mysqlUrl, mongodbUri, provider }: Addresses,
  onRead: (rows: number) => void = () => {},
): Promise<ShopState> {
  const pool = createPool({ uri: mysqlUrl, connectionLimit: 4, supportBigNumbers: true })
  const mongodb = new MongoClient(mongodbUri, { serverSelectionTimeoutMS: 10_000 })
  let read = 0
  const progress = (rows: number) => onRead((read += rows))
  const unreadable: ShopState['unreadable'] = []
  const noting = { progress, unreadable }
  try {
    // What changes last is read first: an order that is CONFIRMED was paid and sold before.
    const orders = await values(pool, 'orders', 'order:', orderSchema, noting)
    const payments = await values(pool, 'payments', 'payment:', paymentSchema, noting)
    const charges = await readCharges(provider, progress)
    const reservations = await values(pool, 'inventory', 'reservation:', reservationSchema, noting)
    const stock = await values(pool, 'inventory', 'stock:', stockSchema, noting)
    const adjustments = await values(pool, 'inventory', 'adjustment:', adjustmentSchema, noting)
    const available = await readAvailability(mongodb, progress)
    const listed = []
    for await (const { key } of rows(pool, 'orders', 'placed:')) listed.push(key)
    const due = []
    for (const service of ['orders', 'payments'])
      for await (const { key } of rows(pool, service, 'due:')) due.push({ service, key })
    return {
      orders,
      payments,
      charges,
      reservations,
      stock,
      adjustments,
      available,
      listed,
      unreadable,
      due,
      unpublished: await readUnpublished(pool, mongodb),
    }
  } finally {
    await Promise.all([pool.end(), mongodb.close()])
  }
}

/** The rows of a service's state table whose keys begin with `prefix`, which ends with a colon. */
async function* rows(pool: Pool, service: string, prefix: string): AsyncGenerator<{ key: string; value: unknown }> {
  const stored = `${service}||`
  let after = `${stored}${prefix}`
  const end = `${stored}${prefix.slice(0, -1)};`
  for (;;) {
    const [found] = await pool.query<RowDataPacket[]>(
      `SELECT CAST(id AS CHAR CHARACTER SET utf8mb4) AS id, CAST(value AS CHAR) AS value
       FROM ${service}.state
       WHERE id > ? AND id < ? AND (expiredate IS NULL OR expiredate > CURRENT_TIMESTAMP)
       ORDER BY id LIMIT ${rowsPerRead}`,
      [after, end],
    )
    for (const row of found) yield { key: String(row['id']).slice(stored.length), value: JSON.parse(row['value']) }
    if (found.length < rowsPerRead) return
    after = String(found.at(-1)!['id'])
  }
}

/** Those that do not parse are added to `unreadable`. */
async function values<T>(
  pool: Pool,
  service: string,
  prefix: string,
  schema: z.ZodType<T>,
  { progress, unreadable }: { progress: (rows: number) => void; unreadable: ShopState['unreadable'] },
): Promise<T[]> {
  const found: T[] = []
  for await (const { key, value } of rows(pool, service, prefix)) {
    const { data, error } = schema.safeParse(value)
    if (error) unreadable.push({ key: `${service}||${key}`, reason: error.issues.map((one) => one.message).join('; ') })
    else found.push(data)
    progress(1)
  }
  return found
}

const level = z.object({ available: z.number() })
/** What catalog knows of a SKU's stock: in its product, or by itself while no product has it. */
const shownStock = z.union([
  z.object({ variants: z.array(z.object({ sku: z.string(), level })) }),
  z.object({ sku: z.string(), level }).transform((one) => ({ variants: [one] })),
])

async function readAvailability(mongodb: MongoClient, progress: (rows: number) => void): Promise<Map<string, number>> {
  const found = new Map<string, number>()
  const state = mongodb.db('catalog').collection<{ _id: string; value: unknown }>('state')
  for (const prefix of ['catalog||product:', 'catalog||sku:']) {
    const cursor = state
      .find({ _id: { $gte: prefix, $lt: `${prefix.slice(0, -1)};` } })
      .project({ 'value.sku': 1, 'value.level': 1, 'value.variants.sku': 1, 'value.variants.level': 1 })
      .batchSize(rowsPerRead)
    for await (const { value } of cursor) {
      // A SKU that a product has says nothing of its stock.
      const { data } = shownStock.safeParse(value)
      for (const { sku, level } of data?.variants ?? []) found.set(sku, level.available)
      progress(1)
    }
  }
  return found
}

const page = z.object({ data: z.array(chargeSchema), has_more: z.boolean() })

/** The provider lists the newest first. */
async function readCharges(
  { url, apiKey }: Addresses['provider'],
  progress: (rows: number) => void,
): Promise<Charge[]> {
  const found: Charge[] = []
  for (let after = ''; ;) {
    const response = await fetch(`${url}/v1/payment_intents?limit=${chargesPerRead}${after}`, {
      headers: { authorization: `Bearer ${apiKey}` },
      signal: AbortSignal.timeout(30_000),
    }).catch((error: unknown) => {
      throw new Error(`the payment provider at ${url} does not respond`, { cause: error })
    })
    if (!response.ok) throw new Error(`the payment provider at ${url} responded with ${response.status}`)
    const { data, has_more } = page.parse(await response.json())
    found.push(...data.filter(({ status, amount }) => status === 'succeeded' && amount > 0))
    progress(data.length)
    if (!has_more) return found
    after = `&starting_after=${data.at(-1)!.id}`
  }
}

const stores = { mysql: ['orders', 'inventory', 'payments', 'catalog'], mongodb: ['users', 'catalog'] }

async function readUnpublished(pool: Pool, mongodb: MongoClient): Promise<Record<string, number>> {
  const counts: Record<string, number> = {}
  for (const service of stores.mysql) {
    const [found] = await pool.query<RowDataPacket[]>(`SELECT COUNT(*) AS count FROM ${service}.state_outbox`)
    counts[service] = Number(found[0]!['count'])
  }
  for (const service of stores.mongodb)
    counts[service] = (counts[service] ?? 0) + (await mongodb.db(service).collection('state_outbox').countDocuments({}))
  return counts
}
