import { randomUUID } from 'node:crypto'
import { inject, expect, it } from 'vitest'
import { api, login, place, product, shopper, terminal, type Answer } from './shop-client.ts'

const admin = () => login(inject('adminEmail'), inject('adminPassword'))

function refund(token: string, orderId: string, body: object, key = randomUUID()): Promise<Answer> {
  return api(`/v1/orders/${orderId}/refunds`, { token, body, headers: { 'idempotency-key': key } })
}

async function confirmed(amount: number): Promise<string> {
  const who = await shopper()
  const { body } = await place(who, await product(1, { amount }))
  expect(await terminal(who, body.id)).toMatchObject({ status: 'CONFIRMED' })
  return body.id
}

it('an admin refunds an order in parts, never more than it cost; a repeat refunds once', async () => {
  const orderId = await confirmed(1999)
  const token = await admin()
  const usd = (amount: number) => ({ amount, currency: 'USD' })
  const key = randomUUID()
  const first = await refund(token, orderId, { amount: usd(500), reason: 'damaged' }, key)
  expect(first).toMatchObject({ status: 201, body: { status: 'DONE', amount: usd(500), refunded: usd(500) } })
  const again = await refund(token, orderId, { amount: usd(500), reason: 'damaged' }, key)
  expect(again).toMatchObject({ status: 201, body: first.body })
  const other = await refund(token, orderId, { amount: usd(501), reason: 'damaged' }, key)
  expect(other).toMatchObject({ status: 422, body: { code: 'idempotency_key_reused' } })
  const tooMuch = await refund(token, orderId, { amount: usd(1500) })
  expect(tooMuch).toMatchObject({ status: 422, body: { code: 'refund_too_large', errors: [{ field: 'amount' }] } })
  const rest = await refund(token, orderId, {})
  expect(rest).toMatchObject({ status: 201, body: { amount: usd(1499), refunded: usd(1999) } })
  expect(await refund(token, orderId, {})).toMatchObject({ status: 422, body: { code: 'already_refunded' } })
})

it('refunds at the same time never exceed what was charged', async () => {
  const orderId = await confirmed(1000)
  const token = await admin()
  const amount = { amount: 300, currency: 'USD' }
  const answers = await Promise.all(Array.from({ length: 8 }, () => refund(token, orderId, { amount })))
  expect(answers.map(({ status }) => status).toSorted()).toEqual([201, 201, 201, 422, 422, 422, 422, 422])
})

it('only admins refund, only what was charged, and only with an Idempotency-Key', async () => {
  const who = await shopper()
  const { body } = await place(who, await product(1), { method: 'pm_card_chargeDeclined' })
  await terminal(who, body.id)
  expect(await refund(who.token, body.id, {})).toMatchObject({ status: 403, body: { code: 'forbidden' } })
  const token = await admin()
  expect(await refund(token, body.id, {})).toMatchObject({ status: 422, body: { code: 'payment_not_captured' } })
  expect(await refund(token, 'o-unknown', {})).toMatchObject({ status: 404, body: { code: 'payment_not_found' } })
  expect(await api(`/v1/orders/${body.id}/refunds`, { token, body: {} })).toMatchObject({ status: 400 })
})
