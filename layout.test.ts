import { globSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { expect, it } from 'vitest'

// The rules of the layout (docs/architecture.md), read from the source: who may import what.

type Import = { file: string; target: string }

const root = import.meta.dirname

/**
 * Every import that is there when the program runs (not of types): packages by name, own files by
 * their path from the root.
 */
function imports(pattern: string): Import[] {
  return globSync(pattern, { cwd: root }).flatMap((file) => {
    const source = readFileSync(join(root, file), 'utf8')
    return [...source.replaceAll(/^import type .*$/gm, '').matchAll(/(?:from|import)\s*\(?\s*['"]([^'"]+)['"]/g)].map(
      ([, name]) => ({ file, target: resolve(file, name!) }),
    )
  })
}

function resolve(file: string, name: string): string {
  if (name.startsWith('.')) return relative(root, join(root, dirname(file), name))
  return name.replace(/^#lib\//, 'lib/').replace(/^#protos\//, 'protos/gen/')
}

const isTest = ({ file }: Import) => file.endsWith('.test.ts')
const places = (found: Import[]) => found.map(({ file, target }) => `${file} imports ${target}`)

it('a service imports no database or broker driver, nor does what services share', () => {
  const drivers = /^(mongodb|mysql2|kafkajs|mysql|pg|redis|ioredis|mongoose|node:sqlite|node:net|node:dgram)(\/|$)/
  const all = [...imports('services/**/*.ts'), ...imports('lib/**/*.ts')]
  expect(all.length).toBeGreaterThan(50)
  expect(places(all.filter((i) => drivers.test(i.target) && !isTest(i)))).toEqual([])
})

it('services do not import each other', () => {
  const owner = (path: string) => /^services\/([^/]+)\//.exec(path)?.[1]
  const crossing = imports('services/**/*.ts').filter((i) => owner(i.target) && owner(i.target) !== owner(i.file))
  expect(places(crossing)).toEqual([])
})

it('components know no service, and lib knows neither', () => {
  const wrong = [
    ...imports('components/**/*.ts').filter((i) => i.target.startsWith('services/')),
    ...imports('lib/**/*.ts').filter((i) => /^(services|components|platform)\//.test(i.target)),
  ]
  expect(places(wrong)).toEqual([])
})

it('in a service only stores, clients and main talk to the sidecar', () => {
  const wrong = imports('services/**/*.ts').filter(
    (i) => i.target === 'lib/dapr.ts' && !isTest(i) && !/(-store|-client|main)\.ts$/.test(i.file),
  )
  expect(places(wrong)).toEqual([])
})
