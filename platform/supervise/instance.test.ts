import { expect, test } from 'vitest'
import { createPaths } from '../processes/paths.ts'
import { allPorts, createPorts } from '../processes/ports.ts'
import { freePortBase } from './instance.ts'

test('no shop of a test has a port that an outgoing connection may take', async () => {
  // The block to begin with depends on the name.
  const bases = await Promise.all(Array.from({ length: 200 }, (_, n) => freePortBase(createPaths(`test-${n}`))))
  expect(new Set(bases).size).toBeGreaterThan(30)
  for (const base of bases) expect(Math.max(...allPorts(createPorts(base)))).toBeLessThan(32_768)
})
