import { expect, test } from 'vitest'
import { createContract } from './contract.ts'

const json = (schema: object, examples?: object) => ({ content: { 'application/json': { schema, examples } } })
const thing = { type: 'object', properties: { id: { type: 'string' } }, required: ['id'], additionalProperties: false }
const problemOf = createContract({
  openapi: '3.1.0',
  components: { schemas: { Thing: thing } },
  paths: {
    '/v1/things/{id}': {
      get: {
        responses: {
          200: json({ $ref: '#/components/schemas/Thing' }),
          404: json({ type: 'object', required: ['code'] }, { thing_not_found: {} }),
        },
      },
      delete: { responses: { 204: {} } },
    },
    '/v1/things/newest': { get: { responses: { 200: json({ type: 'array' }) } } },
  },
})

test('what the document has is right', () => {
  expect(problemOf('GET', '/v1/things/1?a=b', 200, { id: '1' })).toBeUndefined()
  expect(problemOf('GET', '/v1/things/1', 404, { code: 'thing_not_found' })).toBeUndefined()
  expect(problemOf('GET', '/v1/things/newest', 200, [])).toBeUndefined()
  expect(problemOf('DELETE', '/v1/things/1', 204, {})).toBeUndefined()
  expect(problemOf('GET', '/v1/things/1', 414, { code: 'uri_too_long' })).toBeUndefined()
  expect(problemOf('GET', '/v1/unknown', 404, { code: 'route_not_found' })).toBeUndefined()
})

test.each([
  ['a status', 'GET', '/v1/things/1', 409, { code: 'conflict' }, 'GET /v1/things/{id}: 409 conflict is not documented'],
  ['a code', 'GET', '/v1/things/1', 404, { code: 'gone' }, 'GET /v1/things/{id}: 404: code gone is not documented'],
  ['a field', 'GET', '/v1/things/1', 200, { id: '1', more: 1 }, 'must NOT have additional properties'],
  ['a type', 'GET', '/v1/things/newest', 200, {}, 'must be array'],
])('%s that it does not have is named', (_what, method, path, status, body, problem) => {
  expect(problemOf(method, path, status, body)).toContain(problem)
})
