import { createHash } from 'node:crypto'

// Text that clients send, and names made of hashes. No I/O.

// Halves of a surrogate pair arrive over gRPC as U+FFFD.
const unreadable = /[\p{Cs}\u2028\u2029\ufffd]/u
const control = /\p{Cc}/u
const controlButLayout = /(?![\t\n\r])\p{Cc}/u

/** A length as people count it: a character outside the basic plane is one. */
export const characters = (text: string) => [...text].length

/**
 * What is wrong with a text, or undefined. `max` and `min` count characters. `layout` allows tabs
 * and line ends. Text that is over-long by far is not looked at further.
 */
export function textProblem(text: string, o: { min?: number; max: number; layout?: boolean }): string | undefined {
  const min = o.min ?? 0
  const length = text.length > 2 * o.max ? Infinity : characters(text)
  if (length < min || length > o.max)
    return min > 0 ? `must have ${min} to ${o.max} characters` : `must have at most ${o.max} characters`
  if ((o.layout ? controlButLayout : control).test(text)) return 'must not hold control characters'
  if (unreadable.test(text)) return 'must be readable text'
  return undefined
}

const alphabet = 'abcdefghijklmnopqrstuvwxyz234567'

/**
 * The first characters of the SHA-256 of a text in lower-case base32 (RFC 4648), five bits each.
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
