import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { status } from '@grpc/grpc-js'
import { expect, test } from 'vitest'
import { AppError, errorKinds, invalid, notFound, unavailable, type ErrorKind } from '#lib/errors.ts'
import { HttpError, problemCodes, problemOf, problemSchema } from './problem.ts'

const at = { path: '/v1/orders', traceId: 'abc' }

test.each(Object.keys(errorKinds) as ErrorKind[])(
  '%s becomes a complete problem with the status of the table',
  (kind) => {
    const { body } = problemOf(new AppError(kind, 'some_code', 'text'), at)
    expect(body).toMatchObject({
      status: errorKinds[kind].http,
      code: expect.toSatisfy((code: string) => code in problemCodes),
      instance: '/v1/orders',
      traceId: 'abc',
    })
    expect(problemSchema.safeParse(body).success).toBe(true)
  },
)

test('a code that is not in the table becomes the general one of its status', () => {
  const codeOf = (error: AppError) => problemOf(error, at).body.code
  expect(codeOf(unavailable('search_unavailable', 'y'))).toBe('search_unavailable')
  expect(codeOf(unavailable('store_unavailable', 'y'))).toBe('unavailable')
  expect(codeOf(new AppError('conflict', 'etag_mismatch', 'y'))).toBe('conflict')
  expect(codeOf(new AppError('unauthenticated', 'session_ended', 'y'))).toBe('unauthenticated')
})

test('every business rule of a service has its code in the table', () => {
  const services = join(import.meta.dirname, '..', '..')
  const files = globSync('*/*.ts', { cwd: services, exclude: ['**/*.test.ts'] })
  const text = files.map((file) => readFileSync(join(services, file), 'utf8')).join('\n')
  const named = text.matchAll(
    /(?:\b(?:rejected|exists|notFound)\(|AppError\(\s*'(?:rejected|exists|not_found|exhausted)',)\s*'(\w+)'/g,
  )
  const codes = new Set([...named].map(([, code]) => code!))
  expect(codes.size).toBeGreaterThan(25)
  // Of RPCs that no REST operation calls.
  const operators = ['rebuild_not_found', 'rebuild_running']
  expect([...codes].filter((code) => !(code in problemCodes)).toSorted()).toEqual(operators)
})

test('internal errors and outages leak no internals', () => {
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

test('an AppError deep in the chain of causes keeps its meaning', () => {
  expect(problemOf(new Error('outer', { cause: notFound('order_not_found', 'unknown order') }), at).body).toMatchObject(
    { status: 404, code: 'order_not_found' },
  )
})

test('headers say when to retry, how to log in and what is allowed', () => {
  expect(problemOf(unavailable('x', 'y'), at).headers).toEqual({ 'Retry-After': '1' })
  const later = new AppError('exhausted', 'x', 'y', { retryAfterSeconds: 30 })
  expect(problemOf(later, at).headers).toEqual({ 'Retry-After': '30' })
  expect(problemOf(new AppError('unauthenticated', 'bad_token', 'y'), at).headers['WWW-Authenticate']).toContain(
    'invalid_token',
  )
  expect(problemOf(new HttpError('method_not_allowed', 'y', { headers: { Allow: 'GET' } }), at).headers).toEqual({
    Allow: 'GET',
  })
})

test('a code that belongs to a field names it where the service names none', () => {
  expect(
    problemOf(new AppError('exists', 'email_taken', 'another account uses this email'), at).body.errors,
  ).toMatchObject([{ field: 'email' }])
  expect(problemOf(invalid('name', 'is odd'), at).body.errors).toEqual([{ field: 'name', message: 'is odd' }])
})

test('docs/errors.md lists every kind and every code with its status', () => {
  const page = readFileSync(new URL('../../../docs/errors.md', import.meta.url), 'utf8').replaceAll(/ +/g, ' ')
  const rows = [
    ...Object.entries(errorKinds).map(([kind, { grpc, http }]) => `| ${kind} | ${status[grpc]} | ${http} |`),
    ...Object.entries(problemCodes).map(([code, { status, title }]) => `| ${status} | \`${code}\` | ${title} |`),
  ]
  expect(rows.filter((row) => !page.includes(row))).toEqual([])
})
