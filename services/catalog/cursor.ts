import { invalid } from '#lib/errors.ts'

const prefix = '2.'
const newestKeyPattern = /^\d{13}:p-[a-z2-7]{26}$/

/** Returns the cursor of the page after the product with this `newestKey`. Opaque to clients. */
export const cursorAfter = (newestKey: string) => Buffer.from(prefix + newestKey).toString('base64url')

/**
 * Returns the `newestKey` in a cursor. Throws `invalid` bad_cursor for one that was never issued.
 */
export function parseCursor(cursor: string): string {
  const text = Buffer.from(cursor.slice(0, 100), 'base64url').toString()
  const key = text.slice(prefix.length)
  if (!newestKeyPattern.test(key) || cursorAfter(key) !== cursor)
    throw invalid('cursor', 'must be the cursor of a previous page', 'bad_cursor')
  return key
}
