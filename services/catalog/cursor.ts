import { invalid } from '#lib/errors.ts'
import { isProductId } from './product.ts'

const prefix = '1.'

/** Returns the cursor of the page after this product. Opaque to clients. */
export const cursorAfter = (productId: string) => Buffer.from(prefix + productId).toString('base64url')

/**
 * Returns the product id in a cursor. Throws `invalid` bad_cursor for one that was never issued.
 */
export function parseCursor(cursor: string): string {
  const id = Buffer.from(cursor.slice(0, 100), 'base64url').toString().slice(prefix.length)
  if (!isProductId(id) || cursorAfter(id) !== cursor)
    throw invalid('cursor', 'must be the cursor of a previous page', 'bad_cursor')
  return id
}
