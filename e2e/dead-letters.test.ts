import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { createConnection, type Connection } from 'mysql2/promise'
import { afterAll, beforeAll, expect, inject, it } from 'vitest'
import { poll } from '../platform/poll.ts'
import { attachShop, type Shop } from '../platform/start/shop.ts'
import { api, place, product, shopper, terminal } from './shop-client.ts'

let shop: Shop
let database: Connection
beforeAll(async () => {
  shop = await attachShop(inject('shopInstance'))
  database = await createConnection({ uri: shop.urls.mysqlUrl, database: 'orders' })
})
afterAll(() => database?.end())

const root = join(import.meta.dirname, '..')
async function dlq(...args: string[]): Promise<string> {
  const program = [join(root, 'cli/run.js'), 'dlq', ...args, '--brokers', shop.urls.kafkaBrokers]
  return (await promisify(execFile)(process.execPath, program, { cwd: root })).stdout
}

type Waiting = { service: string; key: string; events: { type: string }[] }
const waitingOf = async (key: string) =>
  (JSON.parse(await dlq('list', 'orders', '--json')) as Waiting[]).find((each) => each.key === key)

it('stored state that does not parse parks its key; the rest goes on, and a replay ends it', async () => {
  const who = await shopper()
  const { id } = (await api('/v1/users/me', { token: who.token })).body
  const offer = await product(10)
  const placed = await place(who, offer, { method: 'pm_sandbox_slow' })
  const orderId = placed.body.id as string
  const statusIs = (status: string) => async () =>
    (await api(`/v1/orders/${orderId}`, { token: who.token })).body.status === status && true
  await poll('the stock is reserved', statusIs('RESERVED'))
  const setStatus = (status: string) =>
    database.query(`UPDATE state SET value = JSON_SET(value, '$.status', ?) WHERE id = ?`, [
      status,
      `orders||order:{${id}}:${orderId}`,
    ])
  await setStatus('NONSENSE')

  const parked = await poll('the payment waits in the dead-letter topic', () => waitingOf(orderId), {
    timeoutMs: 30_000,
    intervalMs: 500,
  })
  expect(parked.events.map(({ type }) => type)).toEqual(['payments.payment-captured.v1'])
  expect(await dlq('list', 'orders')).toContain('ZodError')
  const another = await shopper()
  const next = await place(another, offer)
  expect((await terminal(another, next.body.id)).status).toBe('CONFIRMED')

  await setStatus('RESERVED')
  await dlq('replay', 'orders', orderId)
  await poll('the order is confirmed', statusIs('CONFIRMED'), { timeoutMs: 30_000 })
  expect(await waitingOf(orderId)).toBeUndefined()
}, 120_000)
