import { expect, test } from 'vitest'
import { ComponentError } from '../host/errors.ts'
import type { Operation } from '../host/state-store.ts'
import { effectsOf } from './effects.ts'

const set = (key: string, value: string, condition: { etag?: string; firstWrite?: boolean } = {}): Operation => ({
  kind: 'set',
  key,
  value: Buffer.from(value),
  firstWrite: false,
  metadata: {},
  ...condition,
})
const remove = (key: string, etag?: string): Operation => ({
  kind: 'delete',
  key,
  metadata: {},
  ...(etag === undefined ? {} : { etag }),
})

/** What is left in each key, or the error code. */
function outcome(operations: Operation[], found: Record<string, { etag: string; live: boolean }> = {}) {
  const effects = effectsOf(operations, new Map(Object.entries(found)))
  if (effects instanceof ComponentError) return effects.code
  return Object.fromEntries([...effects].map(([key, write]) => [key, write?.value.toString() ?? null]))
}

const live = { k: { etag: '1', live: true } }
const expired = { k: { etag: '1', live: false } }

test.each<[string, Operation[], Record<string, { etag: string; live: boolean }>, ReturnType<typeof outcome>]>([
  ['the last of several writes wins', [set('k', 'a'), set('k', 'b'), set('l', 'c')], {}, { k: 'b', l: 'c' }],
  ['a delete after a write', [set('k', 'a'), remove('k')], {}, { k: null }],
  ['the right etag', [set('k', 'a', { etag: '1' })], live, { k: 'a' }],
  ['a wrong etag', [set('k', 'a', { etag: '2' })], live, 'ETAG_MISMATCH'],
  ['an etag without a row', [set('k', 'a', { etag: '1' })], {}, 'ETAG_MISMATCH'],
  ['an etag of an expired row', [remove('k', '1')], expired, 'ETAG_MISMATCH'],
  [
    'an etag is used up by the first write',
    [set('k', 'a', { etag: '1' }), set('k', 'b', { etag: '1' })],
    live,
    'ETAG_MISMATCH',
  ],
  ['a first write without a row', [set('k', 'a', { firstWrite: true })], {}, { k: 'a' }],
  ['a first write over a live row', [set('k', 'a', { firstWrite: true })], live, 'ETAG_MISMATCH'],
  ['a first write over an expired row', [set('k', 'a', { firstWrite: true })], expired, { k: 'a' }],
  ['a first write after a delete', [remove('k'), set('k', 'a', { firstWrite: true })], live, { k: 'a' }],
  ['two first writes', [set('k', 'a', { firstWrite: true }), set('k', 'b', { firstWrite: true })], {}, 'ETAG_MISMATCH'],
  [
    'a first write with an etag depends on the etag alone',
    [set('k', 'a', { firstWrite: true, etag: '1' })],
    live,
    { k: 'a' },
  ],
  ['one mismatch fails the whole transaction', [set('l', 'a'), remove('k', '2')], live, 'ETAG_MISMATCH'],
])('%s', (_, operations, found, expected) => {
  expect(outcome(operations, found)).toEqual(expected)
})
