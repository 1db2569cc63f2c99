import { randomUUID } from 'node:crypto'
import { expect, inject, test } from 'vitest'
import { setRoles } from '../platform/accounts.ts'
import { attachShop } from '../platform/start/shop.ts'
import { passwordMark } from '../platform/testing/leaks.ts'
import { api, login } from './shop-client.ts'

// Object by object: what a seller may do with their own products, others' and the shop's
// (https://owasp.org/API-Security/editions/2023/en/0xa1-broken-object-level-authorization/).

const shop = await attachShop(inject('shopInstance'))

async function seller(): Promise<string> {
  const [email, password] = [`seller-${randomUUID()}@example.com`, passwordMark + randomUUID()]
  await setRoles(shop, { email, password, name: 'Sally Seller', role: 'seller' })
  return login(email, password)
}

const json = (sku: string, rest: object = {}) => ({
  title: 'A thing',
  variants: [{ sku, options: {}, price: { amount: 100, currency: 'USD' } }],
  ...rest,
})

/** Creates a product and stocks 5 of it, as this user. */
async function product(token: string, rest: object = {}): Promise<{ handle: string; sku: string }> {
  const handle = `thing-${randomUUID()}`
  const sku = handle.toUpperCase()
  expect(await api('/v1/products', { token, body: { handle, ...json(sku, rest) } })).toMatchObject({ status: 201 })
  const supply = { source: 'test', quantity: 5 }
  expect(await api(`/v1/stock/${sku}`, { method: 'PUT', token, body: supply })).toMatchObject({ status: 200 })
  return { handle, sku }
}

/** Every operation on a product and its stock, with what an owner gets; the removal comes last. */
function operations({ handle, sku }: { handle: string; sku: string }, token: string) {
  const path = `/v1/products/${handle}`
  const stock = `/v1/stock/${sku}`
  const adjustment = { id: randomUUID(), delta: 1 }
  return [
    [200, () => api(path, { method: 'PUT', token, body: json(sku, { title: 'B' }) })],
    [200, () => api(path, { method: 'PATCH', token, body: { title: 'C' } })],
    [200, () => api(stock, { token })],
    [200, () => api(stock, { method: 'PUT', token, body: { source: 'test', quantity: 6 } })],
    [200, () => api(`${stock}/adjustments`, { token, body: adjustment })],
    [204, () => api(path, { method: 'DELETE', token })],
  ] as const
}

test('a seller does everything with their own products, an admin with all', async () => {
  const [one, admin] = [await seller(), await login(inject('adminEmail'), inject('adminPassword'))]
  for (const token of [one, admin])
    for (const [status, send] of operations(await product(one), token)) expect((await send()).status).toBe(status)
})

test("another seller's products, and the shop's own, are refused and stay as they are", async () => {
  const [one, other] = [await seller(), await seller()]
  const admin = await login(inject('adminEmail'), inject('adminPassword'))
  for (const owner of [one, admin]) {
    const theirs = await product(owner)
    for (const [, send] of operations(theirs, other))
      expect(await send()).toMatchObject({ status: 403, body: { code: 'not_owner' } })
    expect(await api(`/v1/products/${theirs.handle}`, { token: owner })).toMatchObject({ body: { title: 'A thing' } })
    expect(await api(`/v1/stock/${theirs.sku}`, { token: owner })).toMatchObject({ body: { onHand: 5 } })
  }
})

test('what a seller has not published is theirs alone to see', async () => {
  const [one, other] = [await seller(), await seller()]
  const { handle } = await product(one, { published: false })
  const read = async (token?: string) => (await api(`/v1/products/${handle}`, token ? { token } : {})).status
  const admin = await login(inject('adminEmail'), inject('adminPassword'))
  expect([await read(one), await read(admin), await read(other), await read()]).toEqual([200, 200, 404, 404])
  const change = { method: 'PATCH', token: other, body: { title: 'Mine' } }
  expect(await api(`/v1/products/${handle}`, change)).toMatchObject({ status: 404 })
})

test('sellers add to the category tree; admins alone change it', async () => {
  const one = await seller()
  const admin = await login(inject('adminEmail'), inject('adminPassword'))
  const { status, body } = await api('/v1/categories', { token: one, body: { path: [`Pots ${randomUUID()}`] } })
  expect([200, 201]).toContain(status)
  const rename = (token: string) =>
    api(`/v1/categories/${body.id}`, { method: 'PATCH', token, body: { name: `Pans ${randomUUID()}` } })
  expect(await rename(one)).toMatchObject({ status: 403, body: { code: 'forbidden' } })
  expect(await rename(admin)).toMatchObject({ status: 200 })
})
