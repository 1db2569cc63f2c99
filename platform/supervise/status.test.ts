import { expect, test } from 'vitest'
import { buildState, stateOf } from './status.ts'

test.each([
  ['Running', 'building'],
  ['Pending', 'building'],
  ['Completed', 'not built'],
  ['Error', 'not built'],
])('a Jaeger that has not joined, with its build %s, is %s', (status, state) => {
  expect(buildState([{ name: 'build-jaeger', status }])).toBe(state)
})

test('a running process is healthy only while its probe succeeds', () => {
  const states = ['Ready', 'Not Ready', '-'].map((is_ready) =>
    stateOf({ status: 'Running', is_ready, has_ready_probe: true }),
  )
  expect(states).toEqual(['healthy', 'unhealthy', 'starting'])
})
