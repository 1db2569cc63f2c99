import { randomUUID } from 'node:crypto'
import { expect, inject, test } from 'vitest'
import { poll } from '../platform/poll.ts'
import { attachShop } from '../platform/start/shop.ts'
import { passwordMark } from '../platform/testing/leaks.ts'
import { api, login, shopper } from './shop-client.ts'

const { ports } = await attachShop(inject('shopInstance'))

type Mail = { to: string; text: string }
async function mailsTo(to: string): Promise<Mail[]> {
  const response = await fetch(`http://127.0.0.1:${ports.mailbox}/mails?${new URLSearchParams({ to })}`)
  return ((await response.json()) as { data: Mail[] }).data
}

test('a shopper who has forgotten the password gets a mail, and sets a new one', async () => {
  const who = await shopper()
  const asked = await api('/v1/password-resets', { body: { email: who.email } })
  expect(asked).toMatchObject({ status: 202, body: {} })
  const mail = await poll('the mail', async () => (await mailsTo(who.email))[0])
  const token = /#token=(\S+)/.exec(mail.text)![1]

  const newPassword = passwordMark + randomUUID()
  const redeem = () => api('/v1/password-resets:redeem', { body: { token, newPassword } })
  expect((await redeem()).status).toBe(204)
  await login(who.email, newPassword)
  expect(await redeem()).toMatchObject({
    status: 422,
    body: { code: 'bad_reset_token', errors: [{ field: 'token', message: 'is unknown, used or expired' }] },
  })
})

test('nobody learns which addresses have accounts', async () => {
  const [known, unknown] = [(await shopper()).email, `nobody-${randomUUID()}@example.com`]
  const ask = async (email: string) => {
    const answers = []
    for (let i = 0; i < 4; i += 1) answers.push(await api('/v1/password-resets', { body: { email } }))
    return answers.map(({ status, body }) => [status, body.code])
  }
  expect(await ask(unknown)).toEqual([
    [202, undefined],
    [202, undefined],
    [202, undefined],
    [429, 'too_many_resets'],
  ])
  expect(await ask(known)).toEqual(await ask(`nobody-${randomUUID()}@example.com`))
  await poll('the mails', async () => (await mailsTo(known)).length === 3)
  expect(await mailsTo(unknown)).toEqual([])
})
