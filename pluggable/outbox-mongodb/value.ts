import { Binary, BSON } from 'mongodb'
import { jsonDepth, parseJson, utf8 } from '../host/json.ts'

// BSON documents nest 100 levels at most, the document around the value included.
const maxDepth = 90
// Digits beyond 2^53, exponents and negative zeros are where JSON text and JavaScript numbers part.
const riskyNumber = /\d{16}|\d[eE]|-0/

/**
 * A value as stored: JSON objects and arrays as BSON, so that they can be queried; other text as a
 * string; other bytes as binary. As in Dapr's state.mongodb, except that bytes which are not text
 * are kept whole. An object that would come back changed (large numbers, a NUL in a name) stays
 * text.
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

/** The bytes of a stored value. Objects come back as compact JSON, in the order of their fields. */
export function fromBson(stored: unknown): Buffer {
  if (typeof stored === 'string') return Buffer.from(stored, 'utf8')
  if (stored instanceof Binary) return Buffer.from(stored.value())
  // Relaxed EJSON is plain JSON for what we write; it also gives a form to dates and the like that
  // others have written.
  return Buffer.from(BSON.EJSON.stringify(stored, { relaxed: true }), 'utf8')
}

/**
 * A document of which the driver's decoder says that its text is none: Dapr's state.mongodb stores
 * any bytes as a string. Its `value` comes as binary, so that it keeps its bytes.
 */
export function decodeUntextual(bytes: Uint8Array): BSON.Document {
  const document = BSON.deserialize(bytes, { validation: { utf8: false } })
  for (const [type, nameOffset, nameLength, offset, length] of BSON.onDemand.parseToElements(bytes)) {
    const name = Buffer.from(bytes.subarray(nameOffset, nameOffset + nameLength)).toString('utf8')
    // A string: its length in 4 bytes, its own bytes, a zero.
    if (name === 'value' && type === 2)
      document['value'] = new Binary(Buffer.from(bytes.subarray(offset + 4, offset + length - 1)))
  }
  return document
}
