import { expect, test } from 'vitest'
import { cachingOf } from './caching.ts'

const user = { id: 'u-1', sessionId: 's-1', roles: ['shopper'] }
const caching = (access: 'public' | 'optional' | 'user' | 'staff', method: 'get' | 'post', who?: typeof user) =>
  cachingOf({ access, method }, who)['Cache-Control']

test('only reads without a token may be kept', () => {
  expect(caching('public', 'get')).toMatch(/^public, max-age=1, /)
  expect(caching('optional', 'get')).toMatch(/^public, max-age=1, /)
  for (const private_ of [
    caching('optional', 'get', user),
    caching('user', 'get', user),
    caching('staff', 'get', user),
    caching('public', 'post'),
    caching('staff', 'post', user),
  ])
    expect(private_).toBe('private, no-store')
})

test('a read that a token changes says so', () => {
  expect(cachingOf({ access: 'optional', method: 'get' }, undefined).Vary).toBe('Authorization')
  expect(cachingOf({ access: 'public', method: 'get' }, undefined).Vary).toBeUndefined()
})
