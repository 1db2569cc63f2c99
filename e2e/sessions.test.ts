import { randomUUID } from 'node:crypto'
import { expect, inject, test } from 'vitest'
import { setRoles } from '../platform/accounts.ts'
import { poll } from '../platform/poll.ts'
import { attachShop } from '../platform/start/shop.ts'
import { api, shopper, uncached, type Shopper } from './shop-client.ts'

/** What docs/api.md promises, and some time for a busy machine. */
const timeoutMs = 70_000

const setRole = async ({ email }: Shopper, role: string) =>
  setRoles(await attachShop(inject('shopInstance')), { email, role, password: '', name: '' })
const mySessions = ({ token }: Shopper) => api('/v1/sessions', { token })
const someStock = ({ token }: Shopper) => api(`/v1/stock/${randomUUID()}`, { token, headers: uncached })

test.concurrent('a role that is given, and taken away, acts within a minute, without a new token', async () => {
  const who = await shopper()
  const isRefusedAs = (code: string) => async () => (await someStock(who)).body.code === code
  expect(await someStock(who)).toMatchObject({ body: { code: 'forbidden' } })
  await setRole(who, 'seller')
  await poll('a seller, of others', isRefusedAs('not_owner'), { timeoutMs, intervalMs: 500 })
  await setRole(who, 'shopper')
  await poll('a shopper again', isRefusedAs('forbidden'), { timeoutMs, intervalMs: 500 })
}, 150_000)

test.concurrent('a session that ended takes its access token along within a minute; others go on', async () => {
  const [gone, other] = [await shopper(), await shopper()]
  expect(await api('/v1/sessions/current', { method: 'DELETE', token: gone.token })).toMatchObject({ status: 204 })
  await poll('it is refused', async () => (await mySessions(gone)).status === 401, { timeoutMs, intervalMs: 500 })
  expect(await mySessions(gone)).toMatchObject({ body: { code: 'bad_token', detail: 'The session has ended' } })
  expect(await mySessions(other)).toMatchObject({ status: 200, body: { items: [{ current: true }] } })
}, 90_000)
