import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { lengthProblem, normaliseLine, normaliseLines, normaliseSku, skuProblem, textProblem } from './text.ts'

describe('a SKU', () => {
  test('has one spelling, however its letters are composed', () => {
    expect(normaliseSku(' Cafe\u0301-1 ')).toBe('Café-1')
    expect(normaliseSku('Café-1')).toBe('Café-1')
  })

  test('in its one spelling stays as is', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 50 }), (text) => {
        const once = normaliseSku(text)
        expect(normaliseSku(once)).toBe(once)
      }),
    )
  })

  test.each(['a', 'a||b', '100%', '🏺 é', 'x'.repeat(100), '🏺'.repeat(100)])('may be %j', (sku) => {
    expect(skuProblem(sku)).toBeUndefined()
  })

  test.each(['', 'x'.repeat(101), '🏺'.repeat(101), 'a\tb', 'a\0', 'a\u2028b', '\ud800', '\ufffd'])(
    'may not be %j',
    (sku) => {
      expect(skuProblem(sku)).toMatch(/^must /)
    },
  )
})

describe('textProblem', () => {
  test.each([
    ['x'.repeat(3), { max: 3 }, undefined],
    ['🏺🏺🏺', { max: 3 }, undefined],
    ['x'.repeat(4), { max: 3 }, 'must have at most 3 characters'],
    ['', { min: 1, max: 3 }, 'must have 1 to 3 characters'],
    ['a\nb', { max: 3 }, 'must not contain line breaks or control characters'],
    ['a\u2029b', { max: 3 }, 'must not contain line breaks or control characters'],
    ['a\nb', { max: 3, multiline: true }, undefined],
    ['a\u2028b', { max: 3, multiline: true }, undefined],
    ['a\0b', { max: 3, multiline: true }, 'must not contain control characters'],
    ['a\udfff', { max: 3 }, 'must not contain unreadable characters'],
    ['a\ufffd', { max: 3, multiline: true }, 'must not contain unreadable characters'],
  ])('%j with %j: %s', (text, rule, problem) => {
    expect(textProblem(text, rule)).toBe(problem)
  })
})

test('a length alone says nothing about what the characters are', () => {
  expect(lengthProblem('\0', { min: 1, max: 1 })).toBeUndefined()
  expect(lengthProblem('', { min: 1, max: 1 })).toBe('must have 1 to 1 characters')
})

test('a line is trimmed and composed', () => {
  expect(normaliseLine(' e\u0301\u2028', { max: 10 })).toBe('é')
})

test('over-long text is left alone, so that refusing it costs nothing', () => {
  const long = ` ${'e\u0301'.repeat(100)}`
  expect(normaliseLine(long, { max: 10 })).toBe(long)
})

test('line and paragraph separators become line ends', () => {
  expect(normaliseLines('one\u2028two\u2029 e\u0301\r\n')).toBe('one\ntwo\n é\r\n')
})
