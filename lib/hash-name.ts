import { createHash } from 'node:crypto'

const alphabet = 'abcdefghijklmnopqrstuvwxyz234567'

/**
 * Returns a name made from a text: the first `length` characters (at most 51) of its SHA-256 in
 * lower-case base32 (RFC 4648), five bits each.
 */
export function hashName(text: string, length: number): string {
  const digest = createHash('sha256').update(text).digest()
  let name = ''
  for (let bit = 0; name.length < length; bit += 5) {
    const pair = (digest[bit >> 3]! << 8) | (digest[(bit >> 3) + 1] ?? 0)
    name += alphabet[(pair >> (11 - (bit & 7))) & 31]
  }
  return name
}
