import { expect, test } from 'vitest'
import * as z from 'zod'
import { AppError, errorKinds, invalid, notFound, unavailable, type ErrorKind } from '#lib/errors.ts'
import { HttpError, parse, problemOf, problemSchema } from './problem.ts'

const at = { path: '/v1/orders', traceId: 'abc' }

test.each(Object.keys(errorKinds) as ErrorKind[])('%s: the status of the table, and a whole problem', (kind) => {
  const { body } = problemOf(new AppError(kind, 'some_code', 'text'), at)
  expect(body).toMatchObject({
    status: errorKinds[kind].http,
    code: 'some_code',
    instance: '/v1/orders',
    traceId: 'abc',
  })
  expect(problemSchema.safeParse(body).success).toBe(true)
})

test('what went wrong here or behind is not told', () => {
  const secrets = [
    new Error('connect ECONNREFUSED 10.0.0.7:3306'),
    unavailable('store_unavailable', 'orders-store is not available right now', new Error('10.0.0.7')),
    new AppError('internal', 'internal', 'orders: panic at 10.0.0.7', {
      fields: [{ field: '10.0.0.7', message: 'x' }],
    }),
    new Error('outer', { cause: new Error('10.0.0.7') }),
    '10.0.0.7',
    undefined,
  ]
  for (const error of secrets) expect(JSON.stringify(problemOf(error, at))).not.toMatch(/10\.0\.0\.7|-store|outer/)
})

test('an AppError keeps its meaning however deep it lies', () => {
  expect(
    problemOf(new Error('outer', { cause: notFound('order_not_found', 'there is no such order') }), at).body,
  ).toMatchObject({ status: 404, code: 'order_not_found' })
})

test('headers: when to try again, how to log in, what is allowed', () => {
  expect(problemOf(unavailable('x', 'y'), at).headers).toEqual({ 'Retry-After': '1' })
  expect(problemOf(new AppError('unauthenticated', 'bad_token', 'y'), at).headers['WWW-Authenticate']).toContain(
    'invalid_token',
  )
  expect(problemOf(new HttpError('method_not_allowed', 'y', { headers: { Allow: 'GET' } }), at).headers).toEqual({
    Allow: 'GET',
  })
})

test('a code that is tied to a field names it when the service did not', () => {
  expect(problemOf(new AppError('exists', 'email_taken', 'an account has this email'), at).body.errors).toMatchObject([
    { field: 'email' },
  ])
  expect(problemOf(invalid('name', 'is odd'), at).body.errors).toEqual([{ field: 'name', message: 'is odd' }])
})

test('what zod finds is told in words, without the values that were sent, and not without end', () => {
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
    { field: 'list.0.c', message: 'is not known here' },
    { field: 'd', message: 'is not known here' },
  ])
  expect(error({ a: 1, list: Array.from({ length: 5_000 }, () => 1) })?.fields.length).toBe(20)
  expect(error({ ['k'.repeat(100_000)]: 1, a: 1, list: [] })?.message.length).toBeLessThan(300)
  expect(error(undefined)).toMatchObject({ code: 'invalid_field', fields: [{ field: 'body', message: 'is missing' }] })
})
