import { expect, test } from 'vitest'
import { parseQuery } from './query.ts'

const parse = (operation: string, query: unknown) => parseQuery(operation, Buffer.from(JSON.stringify(query)), 100)

test('a find keeps filter, sort and limit, and extended JSON becomes dates', () => {
  expect(
    parse('find', { filter: { at: { $gt: { $date: '2026-01-01T00:00:00Z' } } }, sort: { _id: 1 }, limit: 3 }),
  ).toEqual({
    operation: 'find',
    filter: { at: { $gt: new Date('2026-01-01T00:00:00Z') } },
    sort: { _id: 1 },
    limit: 3,
  })
})

test.each([
  ['aggregate', { pipeline: [{ $match: {} }, { $out: 'other' }] }, '$out'],
  ['aggregate', { pipeline: [{ $lookup: { from: 'x', as: 'y', pipeline: [{ $merge: 'z' }] } }] }, '$merge'],
  ['find', { filter: { $or: [{ $where: 'sleep(1000)' }] } }, '$where'],
  ['count', { filter: { $expr: { $function: { body: '', args: [], lang: 'js' } } } }, '$function'],
  ['find', { filter: {}, limit: 101 }, 'limit'],
  ['find', { filter: {}, skip: 5 }, 'skip'],
  ['find', { filter: [] }, 'filter'],
  ['insert', {}, 'operation'],
])('%s %j is rejected, naming %s', (operation, query, named) => {
  expect(() => parse(operation, query)).toThrow(named)
})

test('data that is not JSON is rejected', () => {
  expect(() => parseQuery('find', Buffer.from('{'), 100)).toThrow('must be JSON')
})
