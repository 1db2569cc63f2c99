import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startChild } from '../../platform/child.ts'
import { startStoreSidecar, type StoreSidecar } from '../../platform/testing/store-sidecar.ts'
import { createPayments, type Payments } from './payments.ts'
import { createPaymentStore, type PaymentStore } from './payment-store.ts'
import { createProviderClient } from './provider-client.ts'

// All of payments except its gRPC. The provider's sandbox is a separate process, reached through
// the sidecar.

const apiKey = randomUUID()
let sandboxUrl: string
let stopSandbox: (() => Promise<void>) | undefined
let sidecar: StoreSidecar
let store: PaymentStore
let payments: Payments

beforeAll(async () => {
  const folder = mkdtempSync(join(tmpdir(), 'payments-'))
  const env = { PATH: process.env['PATH'], PORT: '0', DATA_FILE: join(folder, 'ledger.db'), PROVIDER_API_KEY: apiKey }
  const main = join(import.meta.dirname, '../../examples/payment-provider/main.ts')
  const child = startChild(process.execPath, [main], { env })
  stopSandbox = async () => {
    await child.kill()
    rmSync(folder, { recursive: true })
  }
  const listening = () => /"port":(\d+).*"msg":"listening"/.exec(child.tail())?.[1]
  sandboxUrl = `http://127.0.0.1:${await child.ready('the sandbox listens', listening)}`
  const endpoint = {
    apiVersion: 'dapr.io/v1alpha1',
    kind: 'HTTPEndpoint',
    metadata: { name: 'payment-provider' },
    spec: { baseUrl: sandboxUrl, headers: [{ name: 'Authorization', value: `Bearer ${apiKey}` }] },
  }
  sidecar = await startStoreSidecar({
    appId: 'payments',
    store: 'payments-store',
    resources: [JSON.stringify(endpoint)],
  })
  store = createPaymentStore({ state: sidecar.dapr.state('payments-store') })
  payments = createPayments({
    store,
    provider: createProviderClient({ dapr: sidecar.dapr, log: pino({ level: 'silent' }) }),
  })
})
afterAll(async () => {
  await sidecar?.close()
  await stopSandbox?.()
})

const newOrder = () => ({ orderId: `o-${randomUUID()}`, userId: 'u-1' })
const charge = (paymentMethod: string) => ({ amount: { amount: 1999, currency: 'USD' }, paymentMethod })
/** What the provider has captured and refunded for an order. */
async function ledger(orderId: string) {
  const response = await fetch(`${sandboxUrl}/v1/payment_intents?limit=1000`, {
    headers: { authorization: `Bearer ${apiKey}` },
  })
  const { data } = (await response.json()) as {
    data: { id: string; metadata: { order_id: string }; amount_received: number; amount_refunded: number }[]
  }
  return data
    .filter((intent) => intent.metadata.order_id === orderId)
    .map((i) => [i.amount_received, i.amount_refunded])
}
/**
 * Does what the sidecar does: redelivers an event until it is handled. Returns how many attempts
 * that took.
 */
async function untilHandled(handle: () => Promise<unknown>, times = 1): Promise<number> {
  return handle().then(
    () => times,
    (error) => (error.kind === 'unavailable' && times < 10 ? untilHandled(handle, times + 1) : Promise.reject(error)),
  )
}

test('a payment is captured and published once, however often it is requested', async () => {
  const order = newOrder()
  for (let i = 0; i < 2; i += 1) await payments.request(order, charge('pm_card_visa'))
  await Promise.all([payments.request(order, charge('pm_card_visa')), payments.request(order, charge('pm_card_visa'))])
  expect(await ledger(order.orderId)).toEqual([[1999, 0]])
  expect(await store.get(order.orderId)).toMatchObject({
    status: 'CAPTURED',
    providerId: expect.stringMatching(/^pi_/),
  })
  await payments.refund(order.orderId)
  expect((await sidecar.published(order.orderId, 2)).map((e) => e.type)).toEqual([
    'payments.payment-captured.v1',
    'payments.payment-refunded.v1',
  ])
})

test('requests at the same time charge once', async () => {
  const order = newOrder()
  await Promise.all(
    Array.from({ length: 4 }, () => untilHandled(() => payments.request(order, charge('pm_card_visa')))),
  )
  expect(await ledger(order.orderId)).toEqual([[1999, 0]])
})

test.each([
  ['pm_card_chargeDeclined', 'card_declined'],
  ['pm_card_chargeDeclinedInsufficientFunds', 'insufficient_funds'],
  ['pm_card_chargeDeclinedExpiredCard', 'expired_card'],
  ['pm_nobody_knows', 'payment_refused'],
])('%s is declined: %s', async (method, reason) => {
  const order = newOrder()
  await payments.request(order, charge(method))
  expect(await store.get(order.orderId)).toMatchObject({ status: 'DECLINED', reason })
  expect(await sidecar.published(order.orderId, 1)).toMatchObject([
    { type: 'payments.payment-declined.v1', data: { ...order, reason } },
  ])
})

test('an error of the provider leaves the payment open for a retry, and charges once', async () => {
  const order = newOrder()
  expect(await untilHandled(() => payments.request(order, charge('pm_sandbox_error')))).toBe(3)
  expect(await ledger(order.orderId)).toEqual([[1999, 0]])
})

test('a retry after a lost response finds the charge that was made', async () => {
  const order = newOrder()
  await untilHandled(() => payments.request(order, charge('pm_sandbox_lostAnswer')))
  expect(await ledger(order.orderId)).toEqual([[1999, 0]])
  expect(await store.get(order.orderId)).toMatchObject({ status: 'CAPTURED' })
})

describe('the cancellation of an order', () => {
  test('refunds what was captured, once', async () => {
    const order = newOrder()
    await payments.request(order, charge('pm_card_visa'))
    await Promise.all([payments.cancel(order), payments.cancel(order)])
    expect(await ledger(order.orderId)).toEqual([[1999, 1999]])
    expect(await store.get(order.orderId)).toMatchObject({ status: 'REFUNDED' })
  })

  test('before the payment was requested: nothing is charged', async () => {
    const order = newOrder()
    await payments.cancel(order)
    await payments.request(order, charge('pm_card_visa'))
    expect(await ledger(order.orderId)).toEqual([])
    expect(await store.get(order.orderId)).toMatchObject({ status: 'FORBIDDEN' })
  })

  test('while the provider has not decided: waits', async () => {
    const order = newOrder()
    await payments.request(order, charge('pm_sandbox_error')).catch(() => {})
    await expect(payments.cancel(order)).rejects.toMatchObject({ kind: 'unavailable', code: 'payment_pending' })
  })
})
