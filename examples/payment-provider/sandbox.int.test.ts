import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { startChild, type Child } from '../../platform/child.ts'
import { openLedger } from './ledger.ts'

const apiKey = 'sk_test_of_the_sandbox'
const main = join(import.meta.dirname, 'main.ts')
const node = join(import.meta.dirname, '../../node_modules/.bin/node')

let folder: string
let sandbox: { child: Child; url: string }
/** Each test has its own order, to which its charges and idempotency keys belong. */
let orderId: string

async function start(settings: Record<string, string> = {}) {
  const env = {
    ...settings,
    PATH: process.env.PATH,
    PORT: '0',
    DATA_FILE: join(folder, 'data', 'sandbox.sqlite'),
    PROVIDER_API_KEY: apiKey,
  }
  const child = startChild(node, ['--disable-warning=ExperimentalWarning', main], { env })
  const port = await child.ready('the sandbox listens', () => portOf(child.tail()))
  return { child, url: `http://127.0.0.1:${port}` }
}

/** The port in the log line that says the sandbox listens. */
const portOf = (log: string) => /"port":(\d+).*"msg":"listening"/.exec(log)?.[1]

const kill = () => sandbox.child.kill('SIGKILL')

beforeEach(() => {
  orderId = randomUUID()
})
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'payment-sandbox-'))
  sandbox = await start()
})
afterAll(async () => {
  await kill()
  rmSync(folder, { recursive: true })
})

type Intent = {
  id: string
  amount_received: number
  amount_refunded: number
  amount: number
  metadata: { order_id: string }
}

async function post(path: string, form: Record<string, string>, key?: string) {
  const headers = {
    authorization: `Bearer ${apiKey}`,
    ...(key === undefined ? {} : { 'idempotency-key': `${orderId}-${key}` }),
  }
  const response = await fetch(sandbox.url + path, { method: 'POST', headers, body: new URLSearchParams(form) })
  return { status: response.status, body: (await response.json()) as Intent }
}
const charge = (method: string, key?: string, amount = 1999) =>
  post(
    '/v1/payment_intents',
    { amount: String(amount), currency: 'usd', payment_method: method, confirm: 'true', 'metadata[order_id]': orderId },
    key,
  )
async function list<T>(what: string): Promise<T[]> {
  const response = await fetch(`${sandbox.url}/v1/${what}?limit=100`, {
    headers: { authorization: `Bearer ${apiKey}` },
  })
  return ((await response.json()) as { data: T[] }).data
}
async function search(): Promise<Intent[]> {
  const query = new URLSearchParams({ query: `metadata["order_id"]:"${orderId}"` })
  const response = await fetch(`${sandbox.url}/v1/payment_intents/search?${query}`, {
    headers: { authorization: `Bearer ${apiKey}` },
  })
  return ((await response.json()) as { data: Intent[] }).data
}
const listed = async () => (await list<Intent>('payment_intents')).filter((i) => i.metadata.order_id === orderId)

describe('a payment method', () => {
  test.each(['pm_card_visa', 'pm_card_mastercard'])('%s is charged', async (method) => {
    expect(await charge(method)).toMatchObject({
      status: 200,
      body: { status: 'succeeded', amount_received: 1999, metadata: { order_id: orderId } },
    })
  })

  test.each([
    ['pm_card_chargeDeclined', 'card_declined', 'generic_decline'],
    ['pm_card_chargeDeclinedInsufficientFunds', 'card_declined', 'insufficient_funds'],
    ['pm_card_chargeDeclinedExpiredCard', 'expired_card', 'expired_card'],
  ])('%s is declined', async (method, code, declineCode) => {
    expect(await charge(method)).toMatchObject({
      status: 402,
      body: { error: { type: 'card_error', code, decline_code: declineCode } },
    })
    expect((await listed()).map((i) => i.amount_received)).toEqual([0])
  })

  test('that is unknown is a bad request, and nothing is charged', async () => {
    expect(await charge('pm_card_nobody')).toMatchObject({ status: 400, body: { error: { code: 'resource_missing' } } })
    expect(await listed()).toEqual([])
  })

  test('pm_sandbox_error fails twice, then charges once', async () => {
    const statuses = []
    for (let i = 0; i < 4; i++) statuses.push((await charge('pm_sandbox_error', 'k')).status)
    expect(statuses).toEqual([500, 500, 200, 200])
    expect(await listed()).toHaveLength(1)
  })

  test.each([
    ['pm_sandbox_storedError', 0],
    ['pm_sandbox_chargedError', 1],
  ])('%s repeats its error for the same key; charges before that: %i', async (method, charges) => {
    const statuses = []
    for (let i = 0; i < 3; i++) statuses.push((await charge(method, 'k')).status)
    expect(statuses).toEqual([500, 500, 500])
    expect(await listed()).toHaveLength(charges)
    expect((await charge(method, 'other')).status).toBe(200)
    expect(await listed()).toHaveLength(charges + 1)
  })

  test('pm_card_authenticationRequired needs the shopper, and is declined if that must not be', async () => {
    expect(await charge('pm_card_authenticationRequired')).toMatchObject({
      status: 200,
      body: { status: 'requires_action', amount_received: 0 },
    })
    const form = { amount: '1', currency: 'usd', payment_method: 'pm_card_authenticationRequired', confirm: 'true' }
    expect(await post('/v1/payment_intents', { ...form, error_on_requires_action: 'true' })).toMatchObject({
      status: 402,
      body: { error: { code: 'authentication_required' } },
    })
  })

  test('pm_sandbox_processing is charged after 2 s', { timeout: 10_000 }, async () => {
    expect(await charge('pm_sandbox_processing')).toMatchObject({ status: 200, body: { status: 'processing' } })
    expect((await listed())[0]).toMatchObject({ amount_received: 0 })
    await expect.poll(async () => (await listed())[0], { timeout: 5_000 }).toMatchObject({ amount_received: 1999 })
  })

  test('pm_sandbox_lostAnswer charges, drops the connection, and returns that charge to a repeat', async () => {
    await expect(charge('pm_sandbox_lostAnswer', 'k')).rejects.toThrow()
    const { status, body } = await charge('pm_sandbox_lostAnswer', 'k')
    expect(status).toBe(200)
    expect((await listed()).map((i) => i.id)).toEqual([body.id])
  })

  test('pm_sandbox_slow charges at once and responds after 5 s', { timeout: 10_000 }, async () => {
    const started = Date.now()
    const answer = charge('pm_sandbox_slow', 'k')
    await expect.poll(() => listed()).toHaveLength(1)
    expect(Date.now() - started).toBeLessThan(4_000)
    expect((await answer).status).toBe(200)
    expect(Date.now() - started).toBeGreaterThanOrEqual(4_900)
  })
})

describe('an idempotency key', () => {
  test('gives concurrent requests one charge and one response', async () => {
    const answers = await Promise.all(Array.from({ length: 20 }, () => charge('pm_card_visa', 'k')))
    expect(new Set(answers.map((a) => a.body.id)).size).toBe(1)
    expect(await listed()).toHaveLength(1)
  })

  test('repeats a decline too', async () => {
    expect(await charge('pm_card_chargeDeclined', 'k')).toEqual(await charge('pm_card_chargeDeclined', 'k'))
    expect(await listed()).toHaveLength(1)
  })

  test('with a different body is an idempotency_error', async () => {
    await charge('pm_card_visa', 'k', 1)
    expect(await charge('pm_card_visa', 'k', 2)).toMatchObject({
      status: 400,
      body: { error: { type: 'idempotency_error' } },
    })
  })

  test('survives kill -9', async () => {
    const before = await charge('pm_card_visa', 'k')
    await kill()
    sandbox = await start()
    expect(await charge('pm_card_visa', 'k')).toEqual(before)
    expect(await listed()).toHaveLength(1)
  })
})

test('a search finds the charges of one order, also those that were declined, with why', async () => {
  expect(await search()).toEqual([])
  await charge('pm_card_chargeDeclinedExpiredCard')
  const { body } = await charge('pm_card_visa')
  expect(await search()).toMatchObject([
    { id: body.id, status: 'succeeded', metadata: { order_id: orderId } },
    { status: 'requires_payment_method', last_payment_error: { code: 'expired_card' } },
  ])
})

test('keys are forgotten and a search lags, if the settings say so', async () => {
  await kill()
  sandbox = await start({ IDEMPOTENCY_KEYS_S: '0', SEARCH_LAG_MS: '500' })
  const { body } = await charge('pm_card_visa', 'k')
  expect(await search()).toEqual([])
  expect((await charge('pm_card_visa', 'k')).body.id).not.toBe(body.id)
  await expect.poll(search, { timeout: 3_000 }).toHaveLength(2)
  await kill()
  sandbox = await start()
})

test('the refunds of a charge are listed with their ids', async () => {
  const { body } = await charge('pm_card_visa')
  await post('/v1/refunds', { payment_intent: body.id, amount: '500', 'metadata[refund_id]': 'r-1' })
  const response = await fetch(`${sandbox.url}/v1/refunds?payment_intent=${body.id}`, {
    headers: { authorization: `Bearer ${apiKey}` },
  })
  expect(((await response.json()) as { data: unknown[] }).data).toMatchObject([
    { amount: 500, payment_intent: body.id, metadata: { refund_id: 'r-1' } },
  ])
})

test('a ledger of an earlier version is kept', async () => {
  const file = join(folder, 'old.sqlite')
  const old = new DatabaseSync(file)
  old.exec(`
    create table intents (seq integer primary key, id text unique not null, amount integer not null,
      currency text not null, payment_method text not null, order_id text not null, status text not null,
      amount_refunded integer not null default 0, created integer not null);
    create table refunds (seq integer primary key, id text unique not null, payment_intent text not null,
      amount integer not null, created integer not null);
    create table answers (idempotency_key text primary key, request text not null, status integer not null,
      body text not null) without rowid;
    create table failures (idempotency_key text primary key, times integer not null) without rowid;
    insert into intents (id, amount, currency, payment_method, order_id, status, created)
      values ('pi_old', 5, 'usd', 'pm_card_visa', 'o-old', 'succeeded', 1);`)
  old.close()
  for (let i = 0; i < 2; i++) {
    const ledger = openLedger(file, { keyMs: 1_000, searchLagMs: 0 })
    expect(ledger.search('o-old', 10)).toMatchObject([{ id: 'pi_old', amount: 5, status: 'succeeded' }])
    ledger.close()
  }
})

test('a refund returns all that is left, once', async () => {
  const { body: intent } = await charge('pm_card_visa')
  const refund = () => post('/v1/refunds', { payment_intent: intent.id }, 'refund-1')
  expect(await refund()).toMatchObject({ status: 200, body: { amount: 1999, payment_intent: intent.id } })
  expect(await refund()).toMatchObject({ status: 200 })
  expect(await post('/v1/refunds', { payment_intent: intent.id }, 'refund-2')).toMatchObject({
    status: 400,
    body: { error: { code: 'charge_already_refunded' } },
  })
  expect(
    (await list<{ amount: number; payment_intent: string }>('refunds'))
      .filter((r) => r.payment_intent === intent.id)
      .map((r) => r.amount),
  ).toEqual([1999])
  expect((await listed())[0]).toMatchObject({ amount_refunded: 1999 })
})

test('without the API key only /livez responds', async () => {
  expect((await fetch(`${sandbox.url}/v1/payment_intents`)).status).toBe(401)
  expect(
    (await fetch(`${sandbox.url}/v1/payment_intents`, { headers: { authorization: 'Bearer wrong' } })).status,
  ).toBe(401)
  expect((await fetch(`${sandbox.url}/livez`)).status).toBe(200)
})
