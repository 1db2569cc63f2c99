// The shop as its users see it: the REST API as a shopper or seller calls it.
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { inject } from 'vitest'
import { poll } from '../platform/poll.ts'
import { createContract, type Contract } from '../platform/testing/contract.ts'
import { passwordMark } from '../platform/testing/leaks.ts'

// oxlint-disable-next-line typescript/no-explicit-any -- responses are asserted on, not typed
export type Json = Record<string, any>

export type Answer = { status: number; headers: Headers; body: Json }

/** Headers of a request that the edge's cache lets through, as it does any with a cookie. */
export const uncached = { cookie: 'uncached=1' }

type RequestOptions = { method?: string; token?: string; body?: unknown; headers?: Record<string, string> }

let contract: Contract | undefined
/** Returns what all responses are held against; undefined while the gateway is out. */
async function fetchContract(): Promise<Contract | undefined> {
  const response = await fetch(`${inject('shopApi')}/openapi.json`)
  if (response.ok) contract ??= createContract((await response.json()) as Json)
  return contract
}

/**
 * Sends a request: POST if it has a body, otherwise GET, unless `method` says so.
 * @throws Error when the response is none that the OpenAPI document has for this operation
 */
export async function api(path: string, options: RequestOptions = {}): Promise<Answer> {
  const { token, body, headers, method = body === undefined ? 'GET' : 'POST' } = options
  const response = await fetch(`${inject('shopApi')}${path}`, {
    method,
    headers: {
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      ...headers,
    },
    body: body === undefined ? undefined : JSON.stringify(body),
  })
  const text = await response.text()
  const answer = { status: response.status, headers: response.headers, body: text === '' ? {} : JSON.parse(text) }
  const problemOf = contract ?? (await fetchContract())
  const problem = problemOf?.(method, path, answer.status, answer.body)
  if (problem !== undefined) throw new Error(problem)
  return answer
}

// The gateway never goes down: a request without a response is a failure, not a reason to retry.
const isFatal = () => true

/**
 * Retries as long as the response is 503 or 429, or the same request is still in hand, when its
 * Retry-After says so, as a well-behaved client does.
 */
function retryLater(send: () => Promise<Answer>, timeoutMs = 30_000): Promise<Answer> {
  const attempt = async () => {
    const answer = await send()
    if (![429, 503].includes(answer.status) && answer.body.code !== 'request_in_progress') return answer
    // Not all at once again: the same request 50 times would be let in one by one.
    await sleep(1_000 * Number(answer.headers.get('retry-after') ?? 0) * (1 + Math.random()))
    return undefined
  }
  return poll('a final response', attempt, { timeoutMs, isFatal })
}

export type Shopper = { email: string; token: string }

/** Registers a new shopper and logs in. */
export async function shopper(): Promise<Shopper> {
  const email = `shopper-${randomUUID()}@example.com`
  const password = passwordMark + randomUUID()
  const registered = await retryLater(() => api('/v1/users', { body: { email, password, name: 'Sam Shopper' } }))
  // 409: the account exists, because an earlier response was lost.
  expectStatus('register', registered, [201, 409])
  return { email, token: await login(email, password) }
}

/** Logs in and returns the access token. */
export async function login(email: string, password: string): Promise<string> {
  const session = await retryLater(() => api('/v1/sessions', { body: { email, password } }))
  expectStatus('log in', session, [200, 201])
  return session.body.accessToken
}

/**
 * Creates a published product with one variant and stock, and returns its SKU as soon as shoppers
 * see all units. `amount` is in cents; `suffix` is appended to the SKU.
 */
export async function product(units: number, { amount = 999, suffix = '' } = {}): Promise<string> {
  const token = await login(inject('adminEmail'), inject('adminPassword'))
  const handle = `thing-${randomUUID()}`
  const sku = handle.toUpperCase() + suffix
  const body = {
    title: 'A thing',
    description: '<p>Fine</p>',
    vendor: 'Acme',
    images: [],
    attributes: {},
    published: true,
    variants: [{ sku, options: {}, price: { amount, currency: 'USD' } }],
  }
  const created = await retryLater(() => api(`/v1/products/${handle}`, { method: 'PUT', token, body }))
  expectStatus('create a product', created, [200, 201])
  const supply = { source: 'test', quantity: units }
  const stockPath = `/v1/stock/${encodeURIComponent(sku)}`
  const stocked = await retryLater(() => api(stockPath, { method: 'PUT', token, body: supply }))
  expectStatus('stock the product', stocked, [200])
  await untilAvailable(sku, units)
  return sku
}

function expectStatus(action: string, { status, body }: Answer, expected: number[]): void {
  if (!expected.includes(status)) throw new Error(`could not ${action}: ${status} ${JSON.stringify(body)}`)
}

/** Returns how many units of a SKU of `product` shoppers see. */
export async function available(sku: string): Promise<number> {
  const handle = sku.slice(0, 'thing-'.length + randomUUID().length).toLowerCase()
  const { body } = await api(`/v1/products/${handle}`)
  return body.variants?.[0]?.available
}

/** Waits until shoppers see exactly `units` of a SKU of `product`. */
export async function untilAvailable(sku: string, units: number, timeoutMs = 15_000): Promise<void> {
  await poll(`${units} units of ${sku} available`, async () => (await available(sku)) === units, { timeoutMs, isFatal })
}

/** Waits until exactly `units` of a SKU are left: above 20, shoppers need not see each one. */
export async function untilLeft(sku: string, units: number): Promise<void> {
  const token = await login(inject('adminEmail'), inject('adminPassword'))
  const left = async () => (await api(`/v1/stock/${encodeURIComponent(sku)}`, { token })).body.available
  await poll(`${units} units of ${sku} left`, async () => (await left()) === units, { timeoutMs: 15_000, isFatal })
}

type OrderOptions = { quantity?: number; method?: string; key?: string; headers?: Record<string, string> }

/** A shop with more orders than it can confirm says 503 until it can. */
const patienceMs = 120_000

/** Places an order, retrying 503 with the same Idempotency-Key. */
export function place(who: Shopper, sku: string, { key = randomUUID(), ...rest }: OrderOptions = {}): Promise<Answer> {
  return retryLater(() => placeOnce(who, sku, { ...rest, key }), patienceMs)
}

/** The same for an order of several lines. */
export function placeLines(who: Shopper, lines: { sku: string; quantity: number }[]): Promise<Answer> {
  const headers = { 'idempotency-key': randomUUID() }
  const body = { lines, payment: { method: 'pm_card_visa' } }
  return retryLater(() => api('/v1/orders', { token: who.token, headers, body }), patienceMs)
}

/** Places an order and returns the first response, whatever it is. */
export function placeOnce(
  who: Shopper,
  sku: string,
  { quantity = 1, method = 'pm_card_visa', key = randomUUID(), headers }: OrderOptions = {},
): Promise<Answer> {
  return api('/v1/orders', {
    token: who.token,
    headers: { ...headers, 'idempotency-key': key },
    body: { lines: [{ sku, quantity }], payment: { method } },
  })
}

/** Waits until an order is CONFIRMED or CANCELLED and returns it. */
export function terminal(who: Shopper, orderId: string, timeoutMs = 15_000): Promise<Json> {
  const attempt = async () => {
    const { status, body } = await api(`/v1/orders/${orderId}`, { token: who.token })
    return status === 200 && ['CONFIRMED', 'CANCELLED'].includes(body.status) && body
  }
  return poll(`order ${orderId} is CONFIRMED or CANCELLED`, attempt, { timeoutMs, isFatal })
}
