import { randomInt, randomUUID } from 'node:crypto'
import { createPool, type Pool, type RowDataPacket } from 'mysql2/promise'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { ensureDemoLogin } from '../../platform/accounts.ts'
import { poll } from '../../platform/poll.ts'
import { createProgress } from '../../platform/progress.ts'
import type { Shop } from '../../platform/start/shop.ts'
import { createShopApi } from '../../platform/testing/shop-api.ts'
import { addressesOf, audit } from '../../reconcile/audit.ts'
import type { Kind } from '../../reconcile/rules.ts'
import { faultsOf, runShopChaos, startChaosShop } from './run.ts'

// Its own shop, since it kills it. `npm run chaos -- shop --seed …` repeats a failed run.
let shop: Shop
let mysql: Pool
beforeAll(async () => {
  const progress = createProgress()
  shop = await startChaosShop('chaos-shop-test', progress)
  progress.close()
  // The kills of the first test end a connection; a pool makes another.
  mysql = createPool(shop.urls.mysqlUrl)
}, 600_000)
afterAll(async () => {
  await mysql?.end()
  await shop?.stop()
}, 120_000)

it('after 20 kills every accepted order is terminal, and everything agrees', async () => {
  const seed = randomInt(1, 1_000_000)
  const steps: string[] = [`seed ${seed}`]
  const result = await runShopChaos(shop, { seed, kills: 20, onStep: (step) => steps.push(step) }).catch(
    (error: Error) => {
      throw new Error(`${error.message}\n${steps.join(', ')}; logs in ${shop.paths.logs}`, { cause: error })
    },
  )
  expect({ seed, faults: faultsOf(result) }).toEqual({ seed, faults: [] })
  // A run in which hardly anything was ordered, paid or cancelled would prove nothing.
  expect(result.load.accepted).toBeGreaterThan(100)
  expect(result.orders['CONFIRMED']).toBeGreaterThan(50)
  expect(result.orders['CANCELLED']).toBeGreaterThan(20)
}, 1_200_000)

it('two sweepers cancel each order whose time has run out exactly once', async () => {
  const sandbox = shop.process('payment-sandbox')
  const api = createShopApi(`http://127.0.0.1:${shop.ports.api}`)
  try {
    const { admin } = await ensureDemoLogin(shop)
    const sku = await api.product(await api.logIn(admin.email, admin.password), 100)
    const token = await api.shopper()
    await sandbox.stop()
    const body = { lines: [{ sku, quantity: 1 }], payment: { method: 'pm_card_visa' } }
    for (let n = 0; n < 40; n += 1) {
      const headers = { 'idempotency-key': randomUUID() }
      expect((await api.send('POST', '/v1/orders', { token, headers, body })).status).toBe(202)
    }
    const orders = await poll(
      'all orders are CANCELLED',
      async () => {
        const { body: text } = await api.send('GET', '/v1/orders?limit=100', { token })
        const { items } = JSON.parse(text) as { items: Order[] }
        return items.length === 40 && items.every(({ status }) => status === 'CANCELLED') && items
      },
      { timeoutMs: 150_000, intervalMs: 1_000 },
    )
    for (const { reason, history } of orders) {
      expect(reason).toBe('payment_timeout')
      expect(history.map(({ status }) => status)).toEqual(['PENDING', 'RESERVED', 'CANCELLED'])
    }
    await sandbox.start()
    const { findings } = await audit(addressesOf(shop), { settleMs: 120_000 })
    expect(findings).toEqual([])
    const { value: stock } = await find('inventory', 'stock:', `JSON_VALUE(value, '$.sku') = '${sku}'`)
    expect(stock).toMatchObject({ onHand: 100, reserved: 0, sold: 0 })
  } finally {
    if ((await sandbox.pid()) === 0) await sandbox.start()
    api.close()
  }
}, 400_000)

type Order = { status: string; reason: string; history: { status: string }[] }

// The faults are planted in what that run has left, which agreed before. Each is one more.

type Row = { key: string; value: Record<string, unknown> }

/** The first row of a service with this prefix for which the condition holds. */
async function find(service: string, prefix: string, condition: string): Promise<Row> {
  const [[row]] = await mysql.query<RowDataPacket[]>(
    `SELECT CAST(id AS CHAR) AS id, CAST(value AS CHAR) AS value FROM ${service}.state
     WHERE id LIKE ? AND ${condition} LIMIT 1`,
    [`${service}||${prefix}%`],
  )
  if (row === undefined) throw new Error(`${service} has no ${prefix} with ${condition}`)
  return { key: row['id'], value: JSON.parse(row['value']) }
}
const store = (service: string, { key, value }: Row) =>
  mysql.execute(
    `INSERT INTO ${service}.state (id, value, isbinary, eTag) VALUES (?, ?, 0, 'planted')
     ON DUPLICATE KEY UPDATE value = VALUES(value)`,
    [key, JSON.stringify(value)],
  )

async function expectFound(kind: Kind, what: string): Promise<void> {
  const { findings } = await audit(addressesOf(shop), { settleMs: 0 })
  expect(findings).toContainEqual({ kind, what, detail: expect.any(String) })
}

it('a double charge is found', async () => {
  const { value: payment } = await find('payments', 'payment:', `JSON_VALUE(value, '$.status') = 'CAPTURED'`)
  const { orderId, charge } = payment as { orderId: string; charge: { amount: { amount: number } } }
  const { provider } = addressesOf(shop)
  const response = await fetch(`${provider.url}/v1/payment_intents`, {
    method: 'POST',
    headers: { authorization: `Bearer ${provider.apiKey}`, 'idempotency-key': randomUUID() },
    body: new URLSearchParams({
      amount: String(charge.amount.amount),
      currency: 'usd',
      payment_method: 'pm_card_visa',
      confirm: 'true',
      'metadata[order_id]': orderId,
    }),
  })
  expect(response.status).toBe(200)
  await expectFound('charged_twice', orderId)
})

it('a lost event is found', async () => {
  const { key, value } = await find('orders', 'order:', `JSON_VALUE(value, '$.status') = 'CONFIRMED'`)
  const orderId = 'o-lost'
  const deadline = new Date(Date.now() + 3_600_000).toISOString()
  await store('orders', {
    key: key.replace(String(value['orderId']), orderId),
    value: { ...value, orderId, status: 'PENDING', deadline },
  })
  await expectFound('event_lost', orderId)
})

it('an oversold piece is found', async () => {
  const { key, value } = await find('inventory', 'stock:', `JSON_VALUE(value, '$.sold') > 0`)
  const stock = value as { sku: string; onHand: number; reserved: number; sold: number }
  await store('inventory', { key, value: { ...value, onHand: stock.reserved + stock.sold - 1 } })
  await expectFound('oversold', stock.sku)
})

it('a reservation that is never released is found', async () => {
  const { key, value } = await find('inventory', 'reservation:', `JSON_VALUE(value, '$.status') = 'released'`)
  await store('inventory', { key, value: { ...value, status: 'reserved' } })
  await expectFound('reservation_unreleased', String(value['orderId']))
})
