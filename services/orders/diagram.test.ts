import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { stateDiagram } from './order.ts'

it('the diagram in the docs is the one that the code draws', () => {
  const docs = readFileSync(join(import.meta.dirname, '../../docs/architecture.md'), 'utf8')
  expect(docs).toContain(stateDiagram())
})
