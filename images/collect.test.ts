import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { importsOf, packageFolders, reachableFrom } from './collect.ts'

const root = join(import.meta.dirname, '..', '..')
const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as {
  packages: Record<string, { version: string; dev?: boolean }>
}

test('imports are found as Node resolves them', () => {
  const source = `
    import type { A } from 'types-only'
import type { B } from './types.ts'
import './effect.ts'
import one, { type Two, three } from 'pack'
import {
  four,
  five,
} from '@scope/pack/deep.js'
export { six } from '../six.ts'
export type { Seven } from './seven.ts'
export const text = 'from nowhere'
const later = await import('./later.ts')
`
  expect(importsOf(source)).toEqual(['./effect.ts', 'pack', '@scope/pack/deep.js', '../six.ts', './later.ts'])
})

test.each(['outbox-mysql', 'outbox-mongodb', 'bindings-mongodb'])(
  '%s imports no test, no other program, and only what npm ci --omit=dev installs',
  (component) => {
    const { files, packages } = reachableFrom(root, [`pluggable/${component}/main.ts`])
    expect(files.filter((file) => /test|conformance|chaos|^(services|platform|bench|e2e)/.test(file))).toEqual([])
    expect(files.filter((file) => file.endsWith('main.ts'))).toEqual([`pluggable/${component}/main.ts`])
    const folders = packageFolders(root, packages)
    expect(folders).toContain('node_modules/@grpc/grpc-js')
    expect(folders.filter((folder) => !lock.packages[folder] || lock.packages[folder].dev)).toEqual([])
  },
)

test("the images' Node version is the repository's", () => {
  const containerfile = readFileSync(join(root, 'pluggable', 'image', 'Containerfile'), 'utf8')
  const versions = [...containerfile.matchAll(/^FROM node:(\S+)-slim /gm)].map(([, version]) => version)
  expect(versions).toEqual([lock.packages['node_modules/node']?.version, lock.packages['node_modules/node']?.version])
})

test('the Containerfile copies all folders that a component imports from', () => {
  const containerfile = readFileSync(join(root, 'pluggable', 'image', 'Containerfile'), 'utf8')
  const copied = [...containerfile.matchAll(/^COPY (\S+) (\S+)$/gm)]
    .filter(([, from, to]) => from === to)
    .map(([, from]) => from)
  const programs = ['outbox-mysql', 'outbox-mongodb', 'bindings-mongodb'].map(
    (component) => `pluggable/${component}/main.ts`,
  )
  const folders = new Set(reachableFrom(root, programs).files.map((file) => file.split('/')[0]))
  expect([...folders].filter((folder) => !copied.includes(folder))).toEqual([])
})
