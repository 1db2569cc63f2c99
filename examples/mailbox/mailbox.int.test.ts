import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startChild, type Child } from '../../platform/child.ts'
import type { Mail } from './store.ts'

const apiKey = 're_test_of_the_mailbox'
const main = join(import.meta.dirname, 'main.ts')
const node = join(import.meta.dirname, '../../node_modules/.bin/node')
const mail = { from: 'shop@example.com', to: 'ada@example.com', subject: 'Hello', text: 'Hello, Ada' }

let folder: string
let mailbox: { child: Child; url: string }

async function start() {
  const env = {
    PATH: process.env.PATH,
    PORT: '0',
    DATA_FILE: join(folder, 'data', 'mails.sqlite'),
    MAIL_API_KEY: apiKey,
  }
  const child = startChild(node, ['--disable-warning=ExperimentalWarning', main], { env })
  const port = await child.ready('the mailbox listens', () => /"port":(\d+).*"msg":"listening"/.exec(child.tail())?.[1])
  return { child, url: `http://127.0.0.1:${port}` }
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'mailbox-'))
  mailbox = await start()
})
afterAll(async () => {
  await mailbox.child.kill('SIGKILL')
  rmSync(folder, { recursive: true })
})

async function send(body: unknown, headers: Record<string, string> = {}) {
  const response = await fetch(`${mailbox.url}/emails`, {
    method: 'POST',
    headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json', ...headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  })
  return { status: response.status, body: (await response.json()) as Record<string, string> }
}

async function mailsTo(to: string): Promise<Mail[]> {
  const response = await fetch(`${mailbox.url}/mails?${new URLSearchParams({ to })}`)
  return ((await response.json()) as { data: Mail[] }).data
}

test('a mail is kept, and found by its address', async () => {
  const to = 'kept@example.com'
  const { status, body } = await send({ ...mail, to: [to] })
  expect(status).toBe(200)
  expect(await mailsTo(to)).toEqual([{ ...mail, to, id: body['id'], createdAt: expect.stringMatching(/^\d{4}-.*Z$/) }])
})

test('a mail with a key comes once, and another one under it is refused', async () => {
  const to = 'once@example.com'
  const key = { 'idempotency-key': 'once' }
  const first = await send({ ...mail, to }, key)
  expect(await send({ ...mail, to }, key)).toEqual(first)
  expect(await send({ ...mail, to, text: 'other' }, key)).toMatchObject({ status: 409 })
  expect(await mailsTo(to)).toHaveLength(1)
})

test('mails survive kill -9', async () => {
  const to = 'survivor@example.com'
  await send({ ...mail, to })
  await mailbox.child.kill('SIGKILL')
  mailbox = await start()
  expect(await mailsTo(to)).toHaveLength(1)
})

describe('what is refused', () => {
  test.each<[string, number, unknown, Record<string, string>?]>([
    ['no key of the API', 401, mail, { authorization: '' }],
    ['a wrong one', 401, mail, { authorization: 'Bearer no' }],
    ['no JSON', 400, 'no'],
    ['no address', 422, { ...mail, to: undefined }],
    ['two addresses', 422, { ...mail, to: ['a@example.com', 'b@example.com'] }],
    ['an address that bounces', 422, { ...mail, to: 'refused.1@example.com' }],
    ['an endless key', 400, mail, { 'idempotency-key': 'x'.repeat(257) }],
    ['an endless text', 413, { ...mail, text: 'x'.repeat(300_000) }],
  ])('%s', async (_what, status, body, headers) => {
    expect(await send(body, headers)).toMatchObject({ status, body: { statusCode: status } })
  })
})

test('the page shows mails as text, and makes links of addresses', async () => {
  await send({ ...mail, subject: '<b>bold</b>', text: 'See https://example.com/?a=1&b="2" <script>alert(1)</script>' })
  const response = await fetch(mailbox.url)
  expect(response.headers.get('content-security-policy')).toContain("default-src 'none'")
  const page = await response.text()
  expect(page).toContain('&lt;b&gt;bold&lt;/b&gt;')
  expect(page).toContain('<a href="https://example.com/?a=1&amp;b=&quot;2&quot;" rel="noreferrer">')
  expect(page).not.toContain('<script>')
})
