import { expect, test } from 'vitest'
import { cursorAfter, parseCursor } from './cursor.ts'
import { newestKey, productIdOf } from './product.ts'

test('a cursor is accepted, and nothing else is', () => {
  const id = productIdOf('clay-pot')
  const key = newestKey({ createdAt: '2026-01-01T00:00:00.000Z', id })
  const cursor = cursorAfter(key)
  expect(parseCursor(cursor)).toBe(key)
  for (const bad of [
    'x',
    '1',
    id,
    `${cursor}=`,
    `${cursor}A`,
    Buffer.from('1.' + key).toString('base64url'),
    Buffer.from('2.p-').toString('base64url'),
    '\ud800',
    'A'.repeat(100_000),
  ]) {
    expect(() => parseCursor(bad)).toThrow(expect.objectContaining({ code: 'bad_cursor' }))
  }
})
