import fc from 'fast-check'
import { expect, test } from 'vitest'
import { decodeAttributes, encodeAttributes, type Attribute } from './attributes.ts'

test('attributes survive the escaping of their names', () => {
  fc.assert(
    fc.property(fc.jsonValue({ depthSize: 'small' }), fc.stringMatching(/^[%.$a2E45]{1,8}$/), (value, name) => {
      const attributes = { [name]: value as Attribute }
      const encoded = encodeAttributes(attributes)
      expect(Object.keys(encoded as object)[0]).not.toMatch(/[.$]/)
      expect(decodeAttributes(encoded)).toEqual(attributes)
    }),
  )
})
