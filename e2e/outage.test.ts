import { setTimeout as delay } from 'node:timers/promises'
import { Kafka, logLevel } from 'kafkajs'
import { afterEach, beforeAll, expect, inject, it } from 'vitest'
import { attachShop, type Shop } from '../platform/start/shop.ts'
import { poll } from '../platform/poll.ts'
import { api, place, placeOnce, product, shopper, terminal, uncached, type Answer } from './shop-client.ts'

// Whatever a test stops is started again, because all tests share one shop.
let shop: Shop
const stopped = new Set<string>()
beforeAll(async () => {
  shop = await attachShop(inject('shopInstance'))
})
afterEach(async () => {
  await Promise.all([...stopped].map((name) => shop.process(name).start()))
  stopped.clear()
})

async function stop(name: string): Promise<void> {
  stopped.add(name)
  await shop.process(name).stop()
}

async function start(name: string): Promise<void> {
  await shop.process(name).start()
  stopped.delete(name)
}

async function timed(send: () => Promise<Answer>): Promise<Answer & { ms: number }> {
  const started = performance.now()
  return { ...(await send()), ms: performance.now() - started }
}

const categories = () => api('/v1/categories', { headers: uncached })
const products = () => api('/v1/products?limit=1', { headers: uncached })
const login = () => api('/v1/sessions', { body: { email: inject('adminEmail'), password: inject('adminPassword') } })

it.each([
  ["the gateway's sidecar", 'gateway-dapr', products],
  ['a service', 'catalog', categories],
  ["a service's sidecar", 'users-dapr', login],
  ["a service's store component", 'users-outbox-mongodb', login],
  ['MongoDB', 'mongodb', login],
  ['MySQL', 'mysql', categories],
])(
  'without %s the API returns 503 within 3 s, and recovers by itself when it is back',
  async (_, name, send) => {
    expect((await send()).status).toBeLessThan(300)
    await stop(name)
    const answer = await timed(send)
    expect(answer).toMatchObject({ status: 503, body: { status: 503, title: expect.any(String) } })
    expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0)
    expect(answer.ms).toBeLessThan(3_000)
    await start(name)
    await poll(`the API works again with ${name}`, async () => (await send()).status < 300, {
      timeoutMs: 30_000,
      isFatal: () => true,
    })
  },
  120_000,
)

const outageMs = 120_000

it(
  'after two minutes without MySQL every order is CONFIRMED, and nothing is dead-lettered',
  async () => {
    const who = await shopper()
    const sku = await product(1_000)
    const placed = await Promise.all(Array.from({ length: 20 }, () => place(who, sku)))
    expect(placed.map((p) => p.status)).toEqual(placed.map(() => 202))
    await stop('mysql')
    const refused = await timed(() => placeOnce(who, sku))
    expect(refused.status).toBe(503)
    // The length of the outage is what is tested: longer than any bounded retry.
    await delay(outageMs)
    await start('mysql')
    const orders = await Promise.all(placed.map(({ body }) => terminal(who, body.id, 60_000)))
    expect(orders.map(({ status }) => status)).toEqual(orders.map(() => 'CONFIRMED'))
    expect(await deadLetters()).toEqual([])
  },
  outageMs + 240_000,
)

it('kill -9 of one process after another while orders are placed: every order is CONFIRMED', async () => {
  const who = await shopper()
  const sku = await product(1_000)
  const accepted: string[] = []
  for (const name of [
    'orders',
    'orders-dapr',
    'orders-outbox-mysql',
    'inventory',
    'inventory-outbox-mysql',
    'payments',
    'payments-dapr',
    'payment-sandbox',
  ]) {
    const before = await shop.process(name).pid()
    const answers = Promise.all(Array.from({ length: 4 }, () => place(who, sku)))
    await shop.process(name).kill('SIGKILL')
    accepted.push(...(await answers).map(({ body }) => body.id))
    await shop.process(name).ready({ not: before })
  }
  const orders = await Promise.all(accepted.map((id) => terminal(who, id, 90_000)))
  expect(orders.map(({ status }) => status)).toEqual(orders.map(() => 'CONFIRMED'))
  expect(await deadLetters()).toEqual([])
}, 300_000)

/** Returns the dead-letter topics that are not empty. */
async function deadLetters(): Promise<string[]> {
  const kafka = new Kafka({ clientId: 'test', brokers: shop.urls.kafkaBrokers.split(','), logLevel: logLevel.ERROR })
  const admin = kafka.admin()
  await admin.connect()
  try {
    const topics = (await admin.listTopics()).filter((topic) => topic.endsWith('.dlq'))
    const counts = await Promise.all(
      topics.map(async (topic) => ({ topic, offsets: await admin.fetchTopicOffsets(topic) })),
    )
    return counts.filter(({ offsets }) => offsets.some(({ high }) => high !== '0')).map(({ topic }) => topic)
  } finally {
    await admin.disconnect()
  }
}
