import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { inject } from 'vitest'

// How the whole-system tests see the shop: by its REST API and Jaeger's, as a shopper and an
// operator would.

export type Json = Record<string, any> // oxlint-disable-line typescript/no-explicit-any -- answers are asserted on, not typed

export type Answer = { status: number; headers: Headers; body: Json }

export async function api(
  path: string,
  o: { method?: string; token?: string; body?: unknown; headers?: Record<string, string> } = {},
): Promise<Answer> {
  const response = await fetch(`${inject('shopApi')}${path}`, {
    method: o.method ?? (o.body === undefined ? 'GET' : 'POST'),
    headers: {
      ...(o.body === undefined ? {} : { 'content-type': 'application/json' }),
      ...(o.token === undefined ? {} : { authorization: `Bearer ${o.token}` }),
      ...o.headers,
    },
    body: o.body === undefined ? undefined : JSON.stringify(o.body),
  })
  const text = await response.text()
  return { status: response.status, headers: response.headers, body: text === '' ? {} : JSON.parse(text) }
}

/** Does what a well-behaved client does with 503: the same again, after a moment. */
export function patiently(ask: () => Promise<Answer>): Promise<Answer> {
  return until(
    'the shop does not answer 503',
    async () => {
      const answer = await ask()
      return answer.status === 503 ? undefined : answer
    },
    30_000,
  )
}

/** Asks until `ask` answers something that is not undefined; fails with what it waited for. */
export async function until<T>(what: string, ask: () => Promise<T | undefined>, timeoutMs = 15_000): Promise<T> {
  const deadline = Date.now() + timeoutMs
  for (;;) {
    const answer = await ask()
    if (answer !== undefined) return answer
    if (Date.now() > deadline) throw new Error(`waited ${timeoutMs} ms in vain: ${what}`)
    await delay(50)
  }
}

export type Shopper = { email: string; token: string }

/** A new shopper, logged in. */
export async function shopper(): Promise<Shopper> {
  const email = `shopper-${randomUUID()}@example.com`
  const password = randomUUID()
  const registered = await patiently(() => api('/v1/users', { body: { email, password, name: 'Sam Shopper' } }))
  // 409: an answer was lost, and the account is there.
  if (![201, 409].includes(registered.status))
    throw new Error(`could not register: ${registered.status} ${JSON.stringify(registered.body)}`)
  return { email, token: await login(email, password) }
}

export async function login(email: string, password: string): Promise<string> {
  const session = await patiently(() => api('/v1/sessions', { body: { email, password } }))
  if (session.status !== 200 && session.status !== 201)
    throw new Error(`could not log in: ${session.status} ${JSON.stringify(session.body)}`)
  return session.body.accessToken
}

/**
 * A new published product of one variant with so many units in stock; answers its SKU once the shop
 * can sell it.
 */
export async function product(units: number, o: { amount?: number; suffix?: string } = {}): Promise<string> {
  const seller = await login(inject('adminEmail'), inject('adminPassword'))
  const handle = `thing-${randomUUID()}`
  const sku = handle.toUpperCase() + (o.suffix ?? '')
  const body = {
    title: 'A thing',
    description: '<p>Fine</p>',
    vendor: 'Acme',
    images: [],
    attributes: {},
    published: true,
    variants: [{ sku, options: {}, price: { amount: o.amount ?? 999, currency: 'USD' } }],
  }
  const made = await patiently(() => api(`/v1/products/${handle}`, { method: 'PUT', token: seller, body }))
  if (made.status >= 300) throw new Error(`could not make a product: ${made.status} ${JSON.stringify(made.body)}`)
  const stocked = await patiently(() =>
    api(`/v1/stock/${encodeURIComponent(sku)}`, {
      method: 'PUT',
      token: seller,
      body: { source: 'test', quantity: units },
    }),
  )
  if (stocked.status >= 300) throw new Error(`could not stock it: ${stocked.status} ${JSON.stringify(stocked.body)}`)
  await until(`${sku} is shown with ${units} units`, async () => ((await available(sku)) === units ? true : undefined))
  return sku
}

/** How many units of what `product` made are shown to shoppers. */
export async function available(sku: string): Promise<number> {
  const handle = sku.slice(0, 'thing-'.length + randomUUID().length).toLowerCase()
  const { body } = await api(`/v1/products/${handle}`)
  return body.variants?.[0]?.available
}

type OrderOptions = { quantity?: number; method?: string; key?: string }

/** Places an order, with the same Idempotency-Key until the answer is not 503. */
export function place(who: Shopper, sku: string, o: OrderOptions = {}): Promise<Answer> {
  const key = o.key ?? randomUUID()
  return patiently(() => placeOnce(who, sku, { ...o, key }))
}

/** Places an order; answers what the API said. */
export function placeOnce(who: Shopper, sku: string, o: OrderOptions = {}): Promise<Answer> {
  return api('/v1/orders', {
    token: who.token,
    headers: { 'idempotency-key': o.key ?? randomUUID() },
    body: { lines: [{ sku, quantity: o.quantity ?? 1 }], payment: { method: o.method ?? 'pm_card_visa' } },
  })
}

/** The order once it is CONFIRMED or CANCELLED. */
export function terminal(who: Shopper, orderId: string, timeoutMs = 15_000): Promise<Json> {
  return until(
    `order ${orderId} is terminal`,
    async () => {
      const { status, body } = await api(`/v1/orders/${orderId}`, { token: who.token })
      return status === 200 && ['CONFIRMED', 'CANCELLED'].includes(body.status) ? body : undefined
    },
    timeoutMs,
  )
}
