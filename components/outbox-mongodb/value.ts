import { Binary, BSON } from 'mongodb';
import { jsonDepth, parseJson, utf8 } from '../host/json.ts';

// BSON documents nest 100 levels at most, the document around the value included.
const maxDepth = 90;
// Digits beyond 2^53, exponents and negative zeros are where JSON text and JavaScript numbers part.
const riskyNumber = /\d{16}|\d[eE]|-0/;

/**
 * A value as stored: JSON objects and arrays as BSON, so that they can be queried; other text as a string; other bytes as
 * binary. As in Dapr's state.mongodb, except that bytes which are not text are kept whole.
 * An object that would come back changed (large numbers, a NUL in a name) stays text.
 */
export function toBson(value: Buffer): unknown {
  const text = utf8(value);
  if (text === undefined) return new Binary(value);
  const first = text.trimStart()[0];
  if (first !== '{' && first !== '[') return text;
  const parsed = parseJson(text);
  if (!parsed || jsonDepth(text) > maxDepth || text.includes('\\u0000') || text.includes('"__proto__"')) return text;
  if (riskyNumber.test(text) && JSON.stringify(parsed.value) !== text) return text;
  return parsed.value;
}

/** The bytes of a stored value. Objects come back as compact JSON, in the order of their fields. */
export function fromBson(stored: unknown): Buffer {
  if (typeof stored === 'string') return Buffer.from(stored, 'utf8');
  if (stored instanceof Binary) return Buffer.from(stored.value());
  // Relaxed EJSON is plain JSON for what we write; it also gives a form to dates and the like that others have written.
  return Buffer.from(BSON.EJSON.stringify(stored, { relaxed: true }), 'utf8');
}
