import { expect, test } from 'vitest'
import * as z from 'zod'
import type { AppError } from '#lib/errors.ts'
import { parse } from './validation.ts'

test('issues become messages in plain words, without the values sent, and at most 20 of them', () => {
  const schema = z.strictObject({ a: z.int().min(1), list: z.array(z.strictObject({ b: z.string() })) })
  const error = (value: unknown) => {
    try {
      return void parse(schema, value, 'body')
    } catch (e) {
      return e as AppError
    }
  }
  expect(error({ a: 'secret', list: [{ b: 1, c: 1 }], d: 1 })?.fields).toEqual([
    { field: 'a', message: 'must be a number' },
    { field: 'list.0.b', message: 'must be a string' },
    { field: 'list.0.c', message: 'unknown field' },
    { field: 'd', message: 'unknown field' },
  ])
  expect(error({ a: 1, list: Array.from({ length: 5_000 }, () => 1) })?.fields.length).toBe(20)
  expect(error({ ['k'.repeat(100_000)]: 1, a: 1, list: [] })?.message.length).toBeLessThan(300)
  expect(error(undefined)).toMatchObject({
    code: 'invalid_field',
    fields: [{ field: 'body', message: 'is required' }],
  })
})

test.each<[schema: z.ZodType, value: unknown, message: string, field?: string]>([
  [z.int(), 0.5, 'must be a whole number'],
  [z.int().min(1), 0, 'must be at least 1'],
  [z.int().max(9), 10, 'must be at most 9'],
  [z.int().min(1, 'must be 1 to 9'), 0, 'must be 1 to 9'],
  [z.string().min(2), 'a', 'must have at least 2 characters'],
  [z.array(z.int()).min(1), [], 'must have at least 1 entry'],
  [z.array(z.int()).max(2), [1, 2, 3], 'must have at most 2 entries'],
  [z.enum(['a', 'b']), 'c', 'must be one of a, b'],
  [z.record(z.string().max(2), z.int()), { abc: 1 }, 'has a name that must have at most 2 characters', 'abc'],
  [z.strictObject({}), [], 'must be an object'],
  [z.boolean(), null, 'must be a boolean'],
])('issue %#', (schema, value, message, field = 'body') => {
  expect(() => parse<unknown>(schema, value, 'body')).toThrow(`${field}: ${message}`)
})
