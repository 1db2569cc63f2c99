import fc from 'fast-check'
import { BSON } from 'mongodb'
import { expect, test } from 'vitest'
import { decodeNonUtf8, fromBson, toBson } from './value.ts'

test('an object is stored as an object, which can be queried', () => {
  expect(toBson(Buffer.from('{"handle":"lamp","listedIn":["a"]}'))).toEqual({ handle: 'lamp', listedIn: ['a'] })
})

test.each([
  '42',
  'null',
  '"text"',
  'plain',
  '{"big":12345678901234567890}',
  '{"e":1e400}',
  '{"a\\u0000":1}',
  '{"__proto__":1}',
])('%s is stored as text', (text) => {
  expect(toBson(Buffer.from(text))).toBe(text)
})

test('any JSON value comes back the same', () => {
  fc.assert(
    fc.property(fc.json(), (text) => {
      expect(JSON.parse(fromBson(toBson(Buffer.from(text))).toString())).toEqual(JSON.parse(text))
    }),
  )
})

test('bytes that another program stored as a string come back unchanged', () => {
  const document = Buffer.from(BSON.serialize({ _id: 'ä', value: 'text', _etag: 'e', _ttl: null }))
  const bytes = Buffer.from([0, 255, 254, 1])
  bytes.copy(document, document.indexOf('text'))
  const decoded = decodeNonUtf8(document)
  expect([decoded['_id'], fromBson(decoded['value']), decoded['_etag'], decoded['_ttl']]).toEqual([
    'ä',
    bytes,
    'e',
    null,
  ])
})
