import { execFileSync, spawnSync } from 'node:child_process'
import { cpSync, existsSync, globSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { serviceNames } from '../platform/processes/services.ts'
import { collect, contentsOf, importsOf, packageFolders, programs } from './collect.ts'
import { sbomOf } from './sbom.ts'

const root = join(import.meta.dirname, '..')
const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as {
  packages: Record<string, { version: string; dev?: boolean }>
}
const names = Object.keys(programs(root))

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

test('every service and every pluggable component has an image', () => {
  const components = globSync('pluggable/*/main.ts', { cwd: root }).map((file) => file.split('/')[1]!)
  expect(names.toSorted()).toEqual([...serviceNames, ...components, 'mailbox', 'payment-sandbox', 'setup'].toSorted())
})

test('an unknown name is refused with those that there are', () => {
  expect(() => contentsOf(root, 'oders')).toThrow(/no image oders, but: .*orders/)
})

test.each(names)('%s imports no test, no other program, and only what npm ci --omit=dev installs', (name) => {
  const { files, packages, program } = contentsOf(root, name)
  expect(files.filter((file) => /test|conformance|chaos|^(bench|e2e|cli)/.test(file))).toEqual([])
  expect(files.filter((file) => file.endsWith('main.ts') && file !== program)).toEqual([])
  expect(files).toContain(program)
  const folders = packageFolders(root, packages)
  expect(folders.length).toBeGreaterThan(10)
  expect(folders.filter((folder) => !lock.packages[folder] || lock.packages[folder].dev)).toEqual([])
})

// Copying some thousand files takes seconds on a busy machine.
describe('a collected image', { timeout: 60_000 }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'collect-'))
  const files = () => globSync('**/*', { cwd: folder, withFileTypes: true }).filter((entry) => entry.isFile())
  const digest = (from: string) =>
    execFileSync('sh', ['-c', 'tar --sort=name --owner=0 --group=0 --create --directory "$0" . | sha256sum', from])

  beforeAll(() => collect(root, 'payment-sandbox', join(folder, 'one')), 60_000)
  afterAll(() => rmSync(folder, { recursive: true }))

  test('starts with nothing else around it, as far as its settings allow', () => {
    const image = join(folder, 'image')
    for (const part of ['packages', 'app']) cpSync(join(folder, 'one', part), image, { recursive: true })
    const program = join(image, programs(root)['payment-sandbox']!)
    const { stderr } = spawnSync(process.execPath, [program], { cwd: image, env: {}, encoding: 'utf8' })
    expect(stderr).toContain('invalid environment variables')
    rmSync(image, { recursive: true })
  })

  test('holds no declarations, source maps or tests', () => {
    const unneeded = files().filter(
      ({ name, parentPath }) =>
        /\.(d\.[cm]?ts|map|test\.[cm]?[jt]s)$/.test(name) || /\/(__tests__|tests?)(\/|$)/.test(parentPath),
    )
    expect([files().length > 200, unneeded.map(({ name }) => name)]).toEqual([true, []])
  })

  test('holds the licences of its packages', () => {
    const licences = files().filter(({ name }) => /^licen[sc]e/i.test(name))
    expect(licences.length).toBeGreaterThan(20)
  })

  test('has the same bytes each time', () => {
    collect(root, 'payment-sandbox', join(folder, 'two'))
    expect(digest(join(folder, 'one')).equals(digest(join(folder, 'two')))).toBe(true)
    expect(statSync(join(folder, 'one', 'app', 'LICENSE')).mtimeMs).toBe(0)
  })
})

describe('the Containerfile', () => {
  const containerfile = readFileSync(join(root, 'images', 'Containerfile'), 'utf8')
  const stages = Object.fromEntries(
    [...containerfile.matchAll(/^FROM (\S+) AS (\S+)\n([^]*?)(?=^FROM|$(?![^]))/gm)].map(([, from, name, text]) => [
      name,
      { from: from!, text: text! },
    ]),
  )

  test('has a target for every program, which runs it', () => {
    for (const name of names) {
      expect(stages[name]?.text).toContain(`COPY --from=${name}-files /image/packages ./\n`)
      expect(stages[name]?.text).toContain(`COPY --from=${name}-files /image/app ./\n`)
      expect(stages[name]?.text).toContain(`LABEL org.opencontainers.image.title=${name}\n`)
      expect(stages[name]?.text).toContain(`CMD ["node", "${programs(root)[name]}"]`)
      expect(stages[`${name}-files`]?.text).toContain(`RUN node images/collect.ts ${name} /image\n`)
    }
  })

  test('is based on the Node of package-lock.json and on one Debian', () => {
    const bases = Object.values(stages)
      .map(({ from }) => from)
      .filter((from) => !(from in stages))
    const version = lock.packages['node_modules/node']?.version
    expect([...new Set(bases)].toSorted()).toEqual(['debian:bookworm-slim', `node:${version}-slim`])
  })

  test('makes images that run as another user than root and leave health checks to Kubernetes', () => {
    const chain = (name: string): string => (stages[name] ? chain(stages[name].from) + stages[name].text : '')
    for (const name of [...names, 'edge']) expect(chain(name)).toMatch(/^USER 65532:65532$/m)
    expect(containerfile).not.toContain('HEALTHCHECK')
  })

  test('gets all that programs are made of, and no more', () => {
    const ignored = readFileSync(join(root, '.dockerignore'), 'utf8').split('\n')
    expect(ignored[ignored.findIndex((line) => line !== '' && !line.startsWith('#'))]).toBe('*')
    const allowed = ignored.filter((line) => line.startsWith('!')).map((line) => line.slice(1))
    const needed = [...names.flatMap((name) => contentsOf(root, name).files), 'package-lock.json', 'edge/nginx.conf']
    expect(needed.filter((file) => !allowed.some((path) => file === path || file.startsWith(`${path}/`)))).toEqual([])
    expect(allowed.filter((path) => !existsSync(join(root, path)))).toEqual([])
    expect(ignored).toEqual(expect.arrayContaining(['**/*.test.ts', '**/node_modules', '**/.sidecart']))
  })
})

test(
  "an image's bill of materials lists its packages and Node, and is the same each time",
  { timeout: 60_000 },
  async () => {
    const [once, again] = await Promise.all([sbomOf(root, 'payment-sandbox'), sbomOf(root, 'payment-sandbox')])
    expect(once).toEqual(again)
    const listed = once.components.map(({ name }) => name)
    const folders = packageFolders(root, contentsOf(root, 'payment-sandbox').packages)
    // npm lists two copies of one version once.
    expect(new Set(listed)).toEqual(new Set([...folders.map((path) => path.replace(/^.*node_modules\//, '')), 'node']))
    expect(once.dependencies[0]?.ref).toBe(once.metadata.component['bom-ref'])
  },
)
