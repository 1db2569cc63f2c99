import { expect, test } from 'vitest'
import { createInProgress, idempotencyKey, type KeyedRequest } from './idempotency.ts'

const schema = idempotencyKey('Identifies this.')

test.each([
  ['k-1', 'k-1'],
  ['"k-1"', 'k-1'],
  ['"a \\"b\\" \\\\c"', 'a "b" \\c'],
  ['a b', 'a b'],
  ['a\\b', 'a\\b'],
  ['k'.repeat(255), 'k'.repeat(255)],
  [`"${'k'.repeat(255)}"`, 'k'.repeat(255)],
])('%s is the key %s', (sent, key) => {
  expect(schema.parse(sent)).toBe(key)
})

test.each(['', '""', '"a', 'a"', '"a\\b"', '"a"b"', 'é', 'a\tb', 'k'.repeat(256), `"${'k'.repeat(256)}"`])(
  '%j is no key',
  (sent) => {
    expect(schema.safeParse(sent).success).toBe(false)
  },
)

const request: KeyedRequest = { caller: 'u-1', key: 'k-1', method: 'POST', path: '/v1/orders', body: { lines: [1] } }

test('a request whose like is in hand is refused, and accepted once that one has ended', async () => {
  const onceAtATime = createInProgress()
  const { promise: held, reject: end } = Promise.withResolvers<never>()
  const first = onceAtATime(request, () => held)
  const second = (change: Partial<KeyedRequest>) => onceAtATime({ ...request, ...change }, async () => 'done')

  await expect(second({})).rejects.toMatchObject({ code: 'request_in_progress', headers: { 'Retry-After': '1' } })
  for (const other of [{ body: { lines: [2] } }, { path: '/v1/orders/o-1/cancel' }, { method: 'PATCH' }])
    await expect(second(other)).rejects.toMatchObject({ kind: 'rejected', code: 'idempotency_key_reused' })
  expect(await second({ caller: 'u-2' })).toBe('done')
  expect(await second({ key: 'k-2' })).toBe('done')

  end(new Error('it failed'))
  await expect(first).rejects.toThrow('it failed')
  expect(await second({})).toBe('done')
})
