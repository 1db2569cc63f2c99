import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { AppError } from '#lib/errors.ts'
import { normaliseEmail, parseNewAccount, parseRoles, slotOf, slotOfUserId, userIdOf } from './user.ts'

const valid = { email: 'ada@example.com', password: 'correct horse', name: 'Ada' }

function wrongFields(input: object): string[] {
  try {
    parseNewAccount({ ...valid, ...input })
    return []
  } catch (error) {
    return (error as AppError).fields.map((f) => f.field)
  }
}

/** Any UTF-16, including unpaired surrogates and control characters. */
const anything = fc
  .array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 60 })
  .map((units) => String.fromCharCode(...units))

describe('normaliseEmail', () => {
  test.each([
    ['  Ada@Example.COM ', 'ada@example.com'],
    ['josé@example.com', 'josé@example.com'],
    ['a.b+c@xn--bcher-kva.example', 'a.b+c@xn--bcher-kva.example'],
  ])('%j is found as %j', (text, email) => {
    expect(normaliseEmail(text)).toBe(email)
  })

  test.each([
    '',
    '@',
    'a@',
    '@b.de',
    'a b@c.de',
    'a@b@c.de',
    'a@localhost',
    'a..b@c.de',
    '.a@c.de',
    'a@-c.de',
    'a@c..de',
    'a\0@c.de',
    'a\u200b@c.de',
    '\ud800@c.de',
    '\ufffd@c.de',
    '<a@c.de>',
    `${'a'.repeat(65)}@c.de`,
    `a@${'b'.repeat(250)}.de`,
  ])('%j is not an address', (text) => {
    expect(normaliseEmail(text)).toBeUndefined()
  })

  test('a megabyte is not an address', () => {
    expect(normaliseEmail('x'.repeat(1_000_000))).toBeUndefined()
  })

  test('its own result stays as is', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.emailAddress(),
          fc.tuple(anything, fc.domain()).map((p) => p.join('@')),
        ),
        (text) => {
          const once = normaliseEmail(text)
          if (once !== undefined) expect(normaliseEmail(once)).toBe(once)
        },
      ),
    )
  })
})

describe('parseNewAccount', () => {
  test('accepts valid input, in one spelling', () => {
    expect(parseNewAccount({ email: 'Ada@Example.com', password: 'päss wörd', name: ' Ada ' })).toEqual({
      email: 'ada@example.com',
      password: 'päss wörd',
      name: 'Ada',
    })
  })

  test('names every wrong field at once', () => {
    expect(wrongFields({ email: 'nobody', password: 'short', name: ' ' })).toEqual(['email', 'password', 'name'])
  })

  test.each([
    ['password', '1234567'],
    ['password', 'x'.repeat(257)],
    ['password', 'eight\0ch'],
    ['password', 'half \ud800 half'],
    ['name', ''],
    ['name', 'x'.repeat(201)],
    ['name', 'a\nb'],
    ['name', '\udc00'],
  ])('%s of %j is wrong', (field, value) => {
    expect(wrongFields({ [field]: value })).toEqual([field])
  })

  test('a megabyte is wrong anywhere', () => {
    const much = 'x'.repeat(1_000_000)
    expect(wrongFields({ email: much, password: much, name: much })).toEqual(['email', 'password', 'name'])
  })

  test('counts characters, not halves of them', () => {
    expect(wrongFields({ password: '🙂'.repeat(256), name: '🙂'.repeat(200) })).toEqual([])
    expect(wrongFields({ password: '🙂'.repeat(7) })).toEqual(['password'])
  })

  test('accepts or refuses text of any kind, and never fails otherwise', () => {
    fc.assert(
      fc.property(anything, anything, anything, (email, password, name) => {
        expect(wrongFields({ email, password, name }).every((f) => ['email', 'password', 'name'].includes(f))).toBe(
          true,
        )
      }),
      { numRuns: 50 },
    )
  })
})

test('roles are some of the three, each once', () => {
  expect(parseRoles(['admin', 'shopper', 'admin'])).toEqual(['shopper', 'admin'])
  expect(() => parseRoles([])).toThrow(/roles/)
  expect(() => parseRoles(['admin', 'root'])).toThrow(/roles/)
})

test('an id contains the slot of its email, one of 1,024', () => {
  fc.assert(
    fc.property(fc.emailAddress(), fc.ulid(), (email, ulid) => {
      const slot = slotOfUserId(userIdOf(email, ulid))
      expect(slot).toBe(slotOf(email))
      expect(Number.parseInt(slot!, 16)).toBeLessThan(1024)
    }),
  )
})

test.each([
  '',
  'u-1',
  'u-400-01arz3ndektsv4rrffq69g5fav',
  'u-000-01ARZ3NDEKTSV4RRFFQ69G5FAV',
  'u-000-01arz3ndektsv4rrffq69g5fav||x',
])('%j is not a user id', (id) => {
  expect(slotOfUserId(id)).toBeUndefined()
})
