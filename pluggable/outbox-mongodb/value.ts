import { Binary, BSON } from 'mongodb'
import { jsonDepth, parseJson, utf8 } from '../host/json.ts'

// BSON documents nest at most 100 levels, including the document around the value.
const maxDepth = 90
// JSON text and JavaScript numbers differ in digits beyond 2^53, exponents and negative zeros.
const riskyNumber = /\d{16}|\d[eE]|-0/

/**
 * Returns a value as stored: JSON objects and arrays as BSON, which can be queried; other text as a
 * string; other bytes as binary. This is as in Dapr's state.mongodb, except that bytes which are
 * not text are preserved. An object that would come back changed (large numbers, a NUL in a name)
 * stays text.
 */
export function toBson(value: Buffer): unknown {
  const text = utf8(value)
  if (text === undefined) return new Binary(value)
  const first = text.trimStart()[0]
  if (first !== '{' && first !== '[') return text
  const parsed = parseJson(text)
  if (!parsed || jsonDepth(text) > maxDepth || text.includes('\\u0000') || text.includes('"__proto__"')) return text
  if (riskyNumber.test(text) && JSON.stringify(parsed.value) !== text) return text
  return parsed.value
}

/**
 * Returns the bytes of a stored value. Objects become compact JSON, in the order of their fields.
 */
export function fromBson(stored: unknown): Buffer {
  if (typeof stored === 'string') return Buffer.from(stored, 'utf8')
  if (stored instanceof Binary) return Buffer.from(stored.value())
  // Relaxed EJSON is plain JSON for what we write, and can represent dates and the like written by
  // other programs.
  return Buffer.from(BSON.EJSON.stringify(stored, { relaxed: true }), 'utf8')
}

/**
 * Decodes a document with strings that are not UTF-8, which the driver rejects: Dapr's
 * state.mongodb stores any bytes as a string. Its `value` is returned as binary, which preserves
 * the bytes.
 */
export function decodeNonUtf8(bytes: Uint8Array): BSON.Document {
  const document = BSON.deserialize(bytes, { validation: { utf8: false } })
  for (const [type, nameOffset, nameLength, offset, length] of BSON.onDemand.parseToElements(bytes)) {
    const name = Buffer.from(bytes.subarray(nameOffset, nameOffset + nameLength)).toString('utf8')
    // A string is its length in 4 bytes, its bytes and a zero.
    if (name === 'value' && type === 2)
      document['value'] = new Binary(Buffer.from(bytes.subarray(offset + 4, offset + length - 1)))
  }
  return document
}
