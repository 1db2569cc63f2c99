import { randomBytes, randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Kafka, logLevel, type Producer } from 'kafkajs'
import { ulid } from 'ulid'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Dapr, RpcClient } from '#lib/dapr.ts'
import { UsersServiceService } from '#protos/shop/users/v1/users.ts'
import { startChild, type Child } from '../../platform/child.ts'
import { freePorts } from '../../platform/free-ports.ts'
import { poll } from '../../platform/poll.ts'
import { watchTopics, type PublishedEvent } from '../../platform/testing/events.ts'
import { startService, type RunningService } from '../../platform/testing/service.ts'
import { createPasswordResets, resetRequested } from './password-resets.ts'
import { createUserStore } from './user-store.ts'

// Users, its sidecar, store and subscription, and the mailbox as a process of its own, reached
// through the sidecar.

const apiKey = randomUUID()
const folder = mkdtempSync(join(tmpdir(), 'users-'))
const page = 'https://shop.example/new-password'
const password = 'correct horse'
const next = 'battery staple'
let mailboxPort: number
let mailbox: Child
let service: RunningService
let users: RpcClient<typeof UsersServiceService>
let producer: Producer
let events: PublishedEvent[]
let deadLetters: Record<string, unknown>[]
const closers: (() => Promise<unknown>)[] = []

async function startMailbox(key: string = apiKey): Promise<void> {
  const main = join(import.meta.dirname, '../../examples/mailbox/main.ts')
  const settings = { PORT: String(mailboxPort), DATA_FILE: join(folder, 'mails.db'), MAIL_API_KEY: key }
  mailbox = startChild(process.execPath, [main], { env: { PATH: process.env['PATH'], ...settings } })
  await mailbox.ready('the mailbox listens', () => mailbox.tail().includes('"msg":"listening"'))
}

beforeAll(async () => {
  mailboxPort = (await freePorts(1))[0]!
  await startMailbox()
  const endpoint = {
    apiVersion: 'dapr.io/v1alpha1',
    kind: 'HTTPEndpoint',
    metadata: { name: 'mail' },
    spec: {
      baseUrl: `http://127.0.0.1:${mailboxPort}`,
      headers: [{ name: 'Authorization', value: `Bearer ${apiKey}` }],
    },
  }
  service = await startService('users', { resources: [endpoint], events: true, env: { PASSWORD_RESET_URL: page } })
  users = service.client(UsersServiceService)
  const brokers = (process.env['TEST_KAFKA_BROKERS'] ?? '').split(',')
  producer = new Kafka({ brokers, logLevel: logLevel.NOTHING }).producer()
  await producer.connect()
  // Events name their topic, which is not this run's.
  const published = await watchTopics(['password-resets'])
  const dead = await watchTopics([service.topic('users.dlq')])
  events = published.events as unknown as PublishedEvent[]
  deadLetters = dead.events
  closers.push(published.close, dead.close, () => producer.disconnect())
}, 120_000)
afterAll(async () => {
  for (const close of closers) await close()
  await service?.close()
  await mailbox?.kill()
  rmSync(folder, { recursive: true })
})

const newEmail = () => `ada.${ulid()}@example.com`.toLowerCase()
async function register(email = newEmail()): Promise<{ id: string; email: string }> {
  return (await users.registerUser({ email, password, name: 'Ada', idempotencyKey: '' })).user!
}
const logIn = async (email: string, given: string) =>
  (await users.authenticateUser({ email, password: given, client: '' })).tokens!

const requestIds = () => events.map(({ data }) => (data as { requestId: string }).requestId)

/** Asks for a mail and has its event delivered. Returns the request's id. */
async function request(email: string, eventId?: string): Promise<string> {
  const known = new Set(requestIds())
  await users.requestPasswordReset({ email })
  const id = await poll('the event', () => requestIds().find((each) => !known.has(each)))
  await deliver({ requestId: id }, eventId)
  return id
}

/** All in one partition: what is delivered later is handled later. */
const deliver = (data: object, id: string = randomUUID()) => {
  const event = { specversion: '1.0', id, source: 'users', type: resetRequested, data }
  const messages = [{ key: 'one', value: JSON.stringify({ ...event, datacontenttype: 'application/json' }) }]
  return producer.send({ topic: service.topic('password-resets'), messages })
}

type Mail = { to: string; subject: string; text: string }
async function mailsTo(email: string): Promise<Mail[]> {
  const response = await fetch(`http://127.0.0.1:${mailboxPort}/mails?${new URLSearchParams({ to: email })}`)
  return ((await response.json()) as { data: Mail[] }).data
}
async function tokenFor(email: string): Promise<string> {
  const [mail] = await poll('the mail', async () => {
    const mails = await mailsTo(email)
    return mails.length > 0 && mails
  })
  return new RegExp(`^${page}#token=(\\S+)$`, 'm').exec(mail!.text)![1]!
}
const bad = expect.objectContaining({ code: 'bad_reset_token', fields: [expect.objectContaining({ field: 'token' })] })

test('the token of the mail sets a new password once, and ends all sessions', async () => {
  const { email } = await register()
  const { refreshToken } = await logIn(email, password)
  await request(email.toUpperCase())
  const token = await tokenFor(email)
  await expect(users.resetPassword({ token, newPassword: 'short' })).rejects.toMatchObject({
    fields: [{ field: 'newPassword' }],
  })
  await users.resetPassword({ token, newPassword: next })

  await logIn(email, next)
  await expect(logIn(email, password)).rejects.toMatchObject({ code: 'bad_credentials' })
  await expect(users.refreshTokens({ refreshToken })).rejects.toMatchObject({ code: 'bad_refresh_token' })
  await expect(users.resetPassword({ token, newPassword: password })).rejects.toEqual(bad)
})

test('of two that use a token at once, one sets the password', async () => {
  const { email } = await register()
  await request(email)
  const token = await tokenFor(email)
  const passwords = ['one of the two', 'the other one']
  const outcomes = await Promise.allSettled(passwords.map((newPassword) => users.resetPassword({ token, newPassword })))
  expect(outcomes.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected'])
  await logIn(email, passwords[outcomes.findIndex(({ status }) => status === 'fulfilled')]!)
})

test('a change of the password makes tokens worthless', async () => {
  const { id: userId, email } = await register()
  await request(email)
  const token = await tokenFor(email)
  await users.changePassword({ userId, currentPassword: password, newPassword: next, sessionId: '', client: '' })
  await expect(users.resetPassword({ token, newPassword: 'another one' })).rejects.toEqual(bad)
})

test('an address without an account, or with a deactivated one, gets the same answer and no mail', async () => {
  const deactivated = await register()
  await users.deactivateUser({ userId: deactivated.id })
  const nobody = `nobody.${ulid()}@example.com`.toLowerCase()
  for (const email of [nobody, deactivated.email]) await request(email)
  const { email } = await register()
  await request(email)
  await tokenFor(email)
  expect(await mailsTo(nobody)).toEqual([])
  expect(await mailsTo(deactivated.email)).toEqual([])
})

test('three mails an hour go to an address, whether or not it has an account', async () => {
  const { email } = await register()
  for (const each of [email, `nobody.${ulid()}@example.com`]) {
    for (let i = 0; i < 3; i += 1) await users.requestPasswordReset({ email: each })
    await expect(users.requestPasswordReset({ email: each })).rejects.toMatchObject({
      kind: 'exhausted',
      code: 'too_many_resets',
      retryAfterSeconds: expect.toSatisfy((seconds: number) => seconds > 3_500 && seconds <= 3_600),
    })
  }
})

test.each([
  ['nothing', ''],
  ['a word', 'token'],
  ['a request that is unknown', `0a3.${'A'.repeat(22)}.${'A'.repeat(43)}`],
  ['a long text', 'x'.repeat(100_000)],
])('%s is no token', async (_what, token) => {
  await expect(users.resetPassword({ token, newPassword: next })).rejects.toEqual(bad)
})

test('a token with another signature is none', async () => {
  const { email } = await register()
  await request(email)
  const token = await tokenFor(email)
  const forged = `${token.slice(0, -1)}${token.endsWith('A') ? 'B' : 'A'}`
  await expect(users.resetPassword({ token: forged, newPassword: next })).rejects.toEqual(bad)
})

test('an event that comes again sends no second mail', async () => {
  const { email } = await register()
  const id = randomUUID()
  const requestId = await request(email, id)
  await deliver({ requestId }, id)
  const { email: later } = await register()
  await request(later)
  await tokenFor(later)
  expect(await mailsTo(email)).toHaveLength(1)
})

describe('the mail provider', () => {
  test('is away, or refuses the key: mails wait, and are sent when it is back', async () => {
    const { email } = await register()
    await mailbox.kill('SIGKILL')
    await request(email)
    await startMailbox('another key')
    await poll('a refusal', () => mailbox.tail().includes('wrong API key'))
    await mailbox.kill('SIGKILL')
    await startMailbox()
    await tokenFor(email)
  })

  test('refuses a mail: its event is a dead letter, with no address in it', async () => {
    const { email } = await register(`refused.${ulid()}@example.com`.toLowerCase())
    const id = randomUUID()
    const requestId = await request(email, id)
    const letter = await poll('the dead letter', () => deadLetters.find((each) => each['id'] === id))
    expect(letter).toMatchObject({ data: { requestId } })
    expect(JSON.stringify(letter)).not.toContain('@')
  })
})

describe('with a clock', () => {
  const encryptionKey = randomBytes(32)
  const at = (now: Date, dapr: Dapr = service.dapr) => {
    const state = dapr.state('users-store')
    const { findByEmail } = createUserStore({ state })
    return createPasswordResets({ state, findByEmail, encryptionKey, now: () => now })
  }

  test('a token is good for an hour', async () => {
    const { email } = await register()
    const start = new Date()
    const later = (minutes: number) => at(new Date(start.getTime() + minutes * 60_000))
    const known = new Set(requestIds())
    await at(start).request(email)
    const id = await poll('the event', () => requestIds().find((each) => !known.has(each)))
    const { to, token } = (await later(59).mailOf(id))!
    expect(to).toBe(email)
    expect(await later(59).redeem(token)).toMatchObject({ email })
    await expect(later(60).redeem(token)).rejects.toEqual(bad)
    expect(await later(60).mailOf(id)).toBeUndefined()
  })
})
