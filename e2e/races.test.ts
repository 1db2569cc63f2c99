import { randomUUID } from 'node:crypto'
import { expect, inject, it } from 'vitest'
import { poll } from '../platform/poll.ts'
import { attachShop } from '../platform/start/shop.ts'
import { addressesOf, audit } from '../reconcile/audit.ts'
import { readShop } from '../reconcile/read-shop.ts'
import {
  api,
  login,
  place,
  placeLines,
  product,
  shopper,
  terminal,
  untilAvailable,
  untilLeft,
  type Answer,
  type Json,
  type Shopper,
} from './shop-client.ts'

const addresses = async () => addressesOf(await attachShop(inject('shopInstance')))

/** Some shoppers: each costs two password hashes, and each may have many orders. */
async function shoppers(count: number): Promise<Shopper[]> {
  const found: Shopper[] = []
  while (found.length < count) found.push(await shopper())
  return found
}

const charges = async (orderId: string) =>
  (await readShop(await addresses())).charges.filter(({ metadata }) => metadata.order_id === orderId)

/** Waits until all orders of some shoppers are terminal, and returns them. */
async function allTerminal(who: Shopper[], timeoutMs: number): Promise<Json[]> {
  const ofOne = ({ token }: Shopper) =>
    poll(
      'all orders of a shopper are CONFIRMED or CANCELLED',
      async () => {
        const { status, body } = await api('/v1/orders?limit=100', { token })
        const isTerminal = (order: Json) => ['CONFIRMED', 'CANCELLED'].includes(order.status)
        return status === 200 && body.items.every(isTerminal) && (body.items as Json[])
      },
      { timeoutMs, intervalMs: 500 },
    )
  return (await Promise.all(who.map(ofOne))).flat()
}

const outcomes = (orders: Json[]) => {
  const counts: Record<string, number> = {}
  for (const { status, reason } of orders) {
    const name = reason === null ? status : `${status} ${reason}`
    counts[name] = (counts[name] ?? 0) + 1
  }
  return counts
}

it('500 orders at once for 100 pieces: 100 are CONFIRMED, 400 are told that it is out of stock', async () => {
  const sku = await product(100)
  const who = await shoppers(20)
  const placed = await Promise.all(Array.from({ length: 500 }, (_, i) => place(who[i % 20]!, sku)))
  expect(placed.filter(({ status }) => status !== 202)).toEqual([])
  const orders = await allTerminal(who, 120_000)
  expect(outcomes(orders)).toEqual({ CONFIRMED: 100, 'CANCELLED out_of_stock': 400 })
  await untilAvailable(sku, 0)
}, 300_000)

it('60 orders of 3 SKUs at once for 20 of each: 20 are CONFIRMED whole, none in part', async () => {
  const skus = await Promise.all([product(20), product(20), product(20)])
  const who = await shoppers(10)
  await Promise.all(
    Array.from({ length: 60 }, (_, i) =>
      // In all orders of lines: whoever locks them must not lock in a circle.
      placeLines(
        who[i % 10]!,
        [0, 1, 2].map((n) => ({ sku: skus[(n + i) % 3]!, quantity: 1 })),
      ),
    ),
  )
  const orders = await allTerminal(who, 60_000)
  expect(outcomes(orders)).toEqual({ CONFIRMED: 20, 'CANCELLED out_of_stock': 40 })
  for (const sku of skus) await untilAvailable(sku, 0)
}, 180_000)

it('a cancellation against the charge: it comes in time and costs nothing, or too late and is refused', async () => {
  const sku = await product(100)
  const who = await shopper()
  const races = await Promise.all(
    Array.from({ length: 40 }, async (_, i) => {
      const { body } = await place(who, sku)
      // From at once to long after: some in each state.
      await new Promise((resolve) => setTimeout(resolve, i * 25))
      const answer = await cancel(who, body.id)
      return { id: body.id as string, answer, order: await terminal(who, body.id, 60_000) }
    }),
  )
  for (const { answer, order } of races) {
    if (order.status === 'CANCELLED') expect([answer.status, order.reason]).toEqual([200, 'cancelled_by_shopper'])
    else expect([answer.status, answer.body.code]).toEqual([422, 'order_confirmed'])
  }
  const confirmed = races.filter(({ order }) => order.status === 'CONFIRMED')
  await untilLeft(sku, 100 - confirmed.length)
}, 180_000)

const cancel = (who: Shopper, orderId: string) =>
  api(`/v1/orders/${orderId}/cancel`, { method: 'POST', token: who.token })

it('the same request 50 times at once is one order, charged once', async () => {
  const sku = await product(50)
  const who = await shopper()
  const key = randomUUID()
  const placed = await Promise.all(Array.from({ length: 50 }, () => place(who, sku, { key })))
  // What is told to come again while the first is under way gets its answer then.
  const answers = await Promise.all(placed.map((answer) => (answer.status === 409 ? place(who, sku, { key }) : answer)))
  expect(new Set(answers.map(({ status, body }) => `${status} ${body.id}`)).size).toBe(1)
  expect(await terminal(who, answers[0]!.body.id)).toMatchObject({ status: 'CONFIRMED' })
  expect(await charges(answers[0]!.body.id)).toHaveLength(1)
  await untilLeft(sku, 49)
  const list = await api('/v1/orders?limit=100', { token: who.token })
  expect(list.body.items).toHaveLength(1)
}, 120_000)

it('refunds against each other: never more than was charged, and each key once', async () => {
  const sku = await product(1, { amount: 1_000 })
  const who = await shopper()
  const { body } = await place(who, sku)
  expect(await terminal(who, body.id)).toMatchObject({ status: 'CONFIRMED' })
  const token = await login(inject('adminEmail'), inject('adminPassword'))
  const refund = (amount: number, key = randomUUID()): Promise<Answer> =>
    api(`/v1/orders/${body.id}/refunds`, {
      token,
      headers: { 'idempotency-key': key },
      body: { amount: { amount, currency: 'USD' } },
    })
  const key = randomUUID()
  const answers = await Promise.all([
    ...Array.from({ length: 10 }, () => refund(300)),
    ...Array.from({ length: 10 }, () => refund(300, key)),
  ])
  const made = answers.filter(({ status }) => status === 201)
  expect(new Set(made.map(({ body }) => body.id)).size).toBe(3)
  const [charge, ...others] = await charges(body.id)
  expect(others).toEqual([])
  expect(charge!.amount_refunded).toBe(900)
}, 120_000)

it('after all races nothing disagrees, whoever has won', async () => {
  const { findings } = await audit(await addresses(), { settleMs: 60_000 })
  expect(findings).toEqual([])
}, 120_000)
