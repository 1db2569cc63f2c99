import { expect, test } from 'vitest'
import { cursorAfter, parseCursor } from './cursor.ts'
import { productIdOf } from './product.ts'

test('a cursor is accepted, and nothing else is', () => {
  const id = productIdOf('clay-pot')
  expect(parseCursor(cursorAfter(id))).toBe(id)
  for (const bad of [
    'x',
    '1',
    id,
    `${cursorAfter(id)}=`,
    `${cursorAfter(id)}A`,
    Buffer.from('2.' + id).toString('base64url'),
    Buffer.from('1.p-').toString('base64url'),
    '\ud800',
    'A'.repeat(100_000),
  ]) {
    expect(() => parseCursor(bad)).toThrow(expect.objectContaining({ code: 'bad_cursor' }))
  }
})
