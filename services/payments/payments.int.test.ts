import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Kafka, logLevel, type Producer } from 'kafkajs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { AppError } from '#lib/errors.ts'
import type { RpcClient } from '#lib/dapr.ts'
import {
  PaymentsServiceService,
  PaymentStatus as statuses,
  RefundStatus as refundStatuses,
} from '#protos/shop/payments/v1/payments.ts'
import { startChild, type Child } from '../../platform/child.ts'
import { freePorts } from '../../platform/free-ports.ts'
import { poll } from '../../platform/poll.ts'
import { watchTopic, type PublishedEvent } from '../../platform/testing/events.ts'
import { startService, type RunningService } from '../../platform/testing/service.ts'

// All of payments: the service, its sidecar, store and subscription, and the provider's sandbox as
// a process of its own, reached through the sidecar.

const apiKey = randomUUID()
const folder = mkdtempSync(join(tmpdir(), 'payments-'))
let sandboxPort: number
let sandbox: Child
let service: RunningService
let payments: RpcClient<typeof PaymentsServiceService>
let producer: Producer
let published: (key: string, count: number) => Promise<PublishedEvent[]>
const closers: (() => Promise<unknown>)[] = []

async function startSandbox(env: Record<string, string> = {}): Promise<void> {
  const main = join(import.meta.dirname, '../../examples/payment-provider/main.ts')
  const settings = { PORT: String(sandboxPort), DATA_FILE: join(folder, 'ledger.db'), PROVIDER_API_KEY: apiKey }
  sandbox = startChild(process.execPath, [main], { env: { PATH: process.env['PATH'], ...settings, ...env } })
  await sandbox.ready('the sandbox listens', () => sandbox.tail().includes('"msg":"listening"'))
}

beforeAll(async () => {
  sandboxPort = (await freePorts(1))[0]!
  await startSandbox()
  const endpoint = {
    apiVersion: 'dapr.io/v1alpha1',
    kind: 'HTTPEndpoint',
    metadata: { name: 'payment-provider' },
    spec: {
      baseUrl: `http://127.0.0.1:${sandboxPort}`,
      headers: [{ name: 'Authorization', value: `Bearer ${apiKey}` }],
    },
  }
  service = await startService('payments', {
    resources: [endpoint],
    events: true,
    env: { PAYMENT_WORKERS: '4', PAYMENT_LEASE_S: '20', PAYMENT_SEARCH_LAG_S: '0', PAYMENT_POLL_MS: '200' },
  })
  payments = service.client(PaymentsServiceService)
  producer = new Kafka({
    brokers: (process.env['TEST_KAFKA_BROKERS'] ?? '').split(','),
    logLevel: logLevel.NOTHING,
  }).producer()
  await producer.connect()
  const { eventsOf, close } = await watchTopic(service.topic('payments'))
  published = eventsOf
  closers.push(close, () => producer.disconnect())
}, 120_000)
afterAll(async () => {
  for (const close of closers) await close()
  await service?.close()
  await sandbox?.kill()
  rmSync(folder, { recursive: true })
})

type Order = { orderId: string; userId: string }
const newOrder = (): Order => ({ orderId: `o-${randomUUID()}`, userId: 'u-1' })

async function send(type: string, ...data: Order[]): Promise<void> {
  const messages = data.map((each) => ({
    key: each.orderId,
    value: JSON.stringify({
      specversion: '1.0',
      id: randomUUID(),
      source: 'orders',
      type,
      datacontenttype: 'application/json',
      data: each,
    }),
  }))
  await producer.send({ topic: service.topic('payment-requests'), messages })
}
const total = { amount: 1999, currency: 'USD' }
const request = (paymentMethod: string, ...orders: Order[]) =>
  send('orders.payment-requested.v1', ...orders.map((order) => ({ ...order, total, paymentMethod })))
const withdraw = (order: Order) =>
  send('orders.payment-withdrawn.v1', { ...order, reason: 'cancelled_by_shopper' } as Order)

/** What the provider has captured and refunded for an order. */
async function ledger({ orderId }: Order): Promise<[captured: number, refunded: number][]> {
  const query = new URLSearchParams({ query: `metadata["order_id"]:"${orderId}"`, limit: '100' })
  const response = await fetch(`http://127.0.0.1:${sandboxPort}/v1/payment_intents/search?${query}`, {
    headers: { authorization: `Bearer ${apiKey}` },
  })
  const { data } = (await response.json()) as { data: { amount_received: number; amount_refunded: number }[] }
  return data.map((intent) => [intent.amount_received, intent.amount_refunded])
}

const stored = async ({ orderId }: Order) =>
  payments.getPayment({ orderId }).then(
    ({ payment }) => payment,
    (error: AppError) => {
      if (error.kind === 'not_found') return undefined
      throw error
    },
  )
const untilStatus = (order: Order, status: number, timeoutMs = 20_000) =>
  poll(`${order.orderId} has status ${status}`, async () => (await stored(order))?.status === status, { timeoutMs })
const untilCharged = (order: Order) => poll('it is charged', async () => (await ledger(order)).length > 0)
const captured = statuses.PAYMENT_STATUS_CAPTURED

async function capturedOrder(): Promise<Order> {
  const order = newOrder()
  await request('pm_card_visa', order)
  await untilStatus(order, captured)
  return order
}

test('a payment that is requested often is captured and published once', async () => {
  const order = newOrder()
  await request('pm_card_visa', order, order)
  await untilStatus(order, captured)
  await request('pm_card_visa', order)
  await payments.refundPayment({ orderId: order.orderId, refundId: 'all', amount: undefined, reason: '' })
  const events = await published(order.orderId, 2)
  expect(events).toMatchObject([
    { type: 'payments.payment-captured.v1', data: { ...order, amount: total } },
    { type: 'payments.payment-refunded.v1', data: { ...order, amount: total, refunded: total } },
  ])
  expect(await ledger(order)).toEqual([[1999, 1999]])
})

test.each([
  ['pm_card_chargeDeclined', 'card_declined'],
  ['pm_card_chargeDeclinedInsufficientFunds', 'insufficient_funds'],
  ['pm_card_chargeDeclinedExpiredCard', 'expired_card'],
  ['pm_card_authenticationRequired', 'authentication_required'],
  ['pm_nobody_knows', 'payment_refused'],
])('%s is declined: %s', async (method, reason) => {
  const order = newOrder()
  await request(method, order)
  expect(await published(order.orderId, 1)).toMatchObject([
    { type: 'payments.payment-declined.v1', data: { ...order, reason } },
  ])
  expect(await stored(order)).toMatchObject({ status: statuses.PAYMENT_STATUS_DECLINED, reason })
})

test('a total of zero is captured without the provider', async () => {
  const order = newOrder()
  const free = { ...order, total: { amount: 0, currency: 'USD' }, paymentMethod: 'pm_nobody_knows' }
  await send('orders.payment-requested.v1', free)
  await untilStatus(order, captured)
  expect(await ledger(order)).toEqual([])
})

describe('is charged once, whatever happens:', () => {
  test.each(['pm_sandbox_error', 'pm_sandbox_lostAnswer', 'pm_sandbox_chargedError', 'pm_sandbox_processing'])(
    '%s',
    async (method) => {
      const order = newOrder()
      await request(method, order)
      await untilStatus(order, captured)
      expect(await ledger(order)).toEqual([[1999, 0]])
    },
  )

  test('an error that the provider repeats for its key', { timeout: 60_000 }, async () => {
    const order = newOrder()
    await request('pm_sandbox_storedError', order)
    await untilStatus(order, captured, 50_000)
    expect(await ledger(order)).toEqual([[1999, 0]])
  })

  test('an answer that is lost, of a provider that forgets its keys', { timeout: 30_000 }, async () => {
    await sandbox.kill()
    await startSandbox({ IDEMPOTENCY_KEYS_S: '0' })
    const order = newOrder()
    await request('pm_sandbox_lostAnswer', order)
    await untilStatus(order, captured)
    expect(await ledger(order)).toEqual([[1999, 0]])
    await sandbox.kill()
    await startSandbox()
  })

  test('a service that is killed between the charge and its storing', { timeout: 90_000 }, async () => {
    const order = newOrder()
    await request('pm_sandbox_slow', order)
    await untilCharged(order)
    await service.killService()
    await service.startService()
    await untilStatus(order, captured, 60_000)
    expect(await ledger(order)).toEqual([[1999, 0]])
  })
})

test('slow charges do not stop others', { timeout: 30_000 }, async () => {
  // Three times as many as there are workers.
  const slow = Array.from({ length: 12 }, newOrder)
  await request('pm_sandbox_slow', ...slow)
  await Promise.all(slow.map(untilCharged))
  const order = newOrder()
  const started = performance.now()
  await request('pm_card_visa', order)
  await untilStatus(order, captured)
  expect(performance.now() - started).toBeLessThan(4_000)
  expect((await Promise.all(slow.map(stored))).map((payment) => payment?.status)).toContain(
    statuses.PAYMENT_STATUS_PENDING,
  )
  await Promise.all(slow.map((each) => untilStatus(each, captured)))
})

test('while the circuit breaker is open payments wait, and none is declined', { timeout: 90_000 }, async () => {
  await sandbox.kill()
  const orders = Array.from({ length: 40 }, newOrder)
  await request('pm_card_visa', ...orders)
  const isOpen = async () =>
    /^payment_provider_waiting 1$/m.test(await (await fetch(`${service.adminUrl}/metrics`)).text())
  await poll('the circuit breaker opens', isOpen, { timeoutMs: 30_000 })
  const before = await ended()
  await new Promise((resolve) => setTimeout(resolve, 2_000))
  expect(await ended()).toBe(before)
  await startSandbox()
  await Promise.all(orders.map((order) => untilStatus(order, captured, 60_000)))
  expect(await Promise.all(orders.map(ledger))).toEqual(orders.map(() => [[1999, 0]]))

  /** How many calls reached the provider's address, or failed to. */
  async function ended(): Promise<number> {
    const text = await (await fetch(`${service.adminUrl}/metrics`)).text()
    return Number(/^payment_provider_tasks_total\{kind="charge",outcome="later"\} (\d+)$/m.exec(text)?.[1] ?? 0)
  }
})

describe('the withdrawal of a request', () => {
  test('that comes first forbids the charge', async () => {
    const order = newOrder()
    await withdraw(order)
    await untilStatus(order, statuses.PAYMENT_STATUS_FORBIDDEN)
    await request('pm_card_visa', order)
    const next = await capturedOrder()
    expect(await ledger(next)).toEqual([[1999, 0]])
    expect(await stored(order)).toMatchObject({ status: statuses.PAYMENT_STATUS_FORBIDDEN })
    expect(await ledger(order)).toEqual([])
  })

  test('of what is captured refunds it, once', async () => {
    const order = await capturedOrder()
    await withdraw(order)
    await withdraw(order)
    await untilStatus(order, statuses.PAYMENT_STATUS_REFUNDED)
    expect(await published(order.orderId, 2)).toMatchObject([{}, { data: { refunded: total } }])
    expect(await ledger(order)).toEqual([[1999, 1999]])
  })

  test('of what is being charged refunds it afterwards', { timeout: 30_000 }, async () => {
    const order = newOrder()
    await request('pm_sandbox_slow', order)
    await untilCharged(order)
    await withdraw(order)
    await untilStatus(order, statuses.PAYMENT_STATUS_REFUNDED)
    expect(await ledger(order)).toEqual([[1999, 1999]])
  })
})

describe('refunds', () => {
  const refund = (order: Order, refundId: string, amount?: number) =>
    payments
      .refundPayment({
        orderId: order.orderId,
        refundId,
        amount: amount === undefined ? undefined : { amount, currency: 'USD' },
        reason: 'damaged',
      })
      .then(
        (response) => response.refund?.status,
        (error: AppError) => error.code,
      )
  const done = refundStatuses.REFUND_STATUS_DONE

  test('at the same time never exceed what was captured', async () => {
    const order = await capturedOrder()
    const answers = await Promise.all(Array.from({ length: 10 }, (_, i) => refund(order, `r-${i}`, 500)))
    expect(answers.filter((answer) => answer === 'refund_too_large')).toHaveLength(7)
    const money = (amount: number) => ({ amount, currency: 'USD' })
    const events = await published(order.orderId, 4)
    expect(events.slice(1).map(({ data }) => (data as { refunded: unknown }).refunded)).toEqual(
      [500, 1000, 1500].map(money),
    )
    expect(await ledger(order)).toEqual([[1999, 1500]])
    expect(await stored(order)).toMatchObject({ status: captured, refunded: money(1500) })
    expect(await refund(order, 'rest')).toBe(done)
    expect(await stored(order)).toMatchObject({ status: statuses.PAYMENT_STATUS_REFUNDED })
    expect(await refund(order, 'more')).toBe('already_refunded')
    expect(await ledger(order)).toEqual([[1999, 1999]])
  })

  test('with one id are one refund', async () => {
    const order = await capturedOrder()
    const answers = await Promise.all(Array.from({ length: 10 }, () => refund(order, 'r-1', 500)))
    expect(answers).toContain(done)
    expect(await refund(order, 'r-1', 500)).toBe(done)
    expect(await refund(order, 'r-1', 501)).toBe('idempotency_key_reused')
    expect(await ledger(order)).toEqual([[1999, 500]])
  })

  test('of what was not captured, or in another currency, are refused', async () => {
    const order = newOrder()
    expect(await refund(order, 'r-1')).toBe('payment_not_found')
    await request('pm_card_chargeDeclined', order)
    await untilStatus(order, statuses.PAYMENT_STATUS_DECLINED)
    expect(await refund(order, 'r-1')).toBe('payment_not_captured')
    const paid = await capturedOrder()
    const amount = { amount: 1, currency: 'EUR' }
    await expect(
      payments.refundPayment({ orderId: paid.orderId, refundId: 'r', amount, reason: '' }),
    ).rejects.toMatchObject({ code: 'invalid_field' })
  })
})

test('a provider that refuses our key is an alert, and declines nothing', async () => {
  await sandbox.kill()
  await startSandbox({ PROVIDER_API_KEY: randomUUID() })
  const order = newOrder()
  await request('pm_card_visa', order)
  const isCounted = async () =>
    /^payment_provider_tasks_total\{kind="charge",outcome="ours"\} 1$/m.test(
      await (await fetch(`${service.adminUrl}/metrics`)).text(),
    )
  await poll('the alert is counted', isCounted)
  expect(await stored(order)).toMatchObject({ status: statuses.PAYMENT_STATUS_PENDING })
  await sandbox.kill()
  await startSandbox()
  await withdraw(order)
})
