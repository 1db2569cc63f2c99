import { expect, test } from 'vitest'
import { createPaths } from './paths.ts'

test('sockets are in the clone when its path is short enough', () => {
  expect(createPaths('default', '/home/me/sidecart', '/home/me/.cache/sidecart').sockets).toBe(
    '/home/me/sidecart/.sidecart/default/sockets',
  )
})

test('sockets of a clone with a long path are in the cache folder, in one folder per shop', () => {
  const deep = `/home/me/${'deep/'.repeat(15)}sidecart`
  const one = createPaths('default', deep, '/home/me/.cache/sidecart').sockets
  const two = createPaths('23000', deep, '/home/me/.cache/sidecart').sockets
  expect(one).toMatch(/^\/home\/me\/\.cache\/sidecart\/run\/[0-9a-f]{8}$/)
  expect(two).not.toBe(one)
})

test('where no folder is short enough the error says what to do', () => {
  const long = `/${'x'.repeat(90)}`
  expect(() => createPaths('default', long, long)).toThrow(/XDG_CACHE_HOME/)
})
