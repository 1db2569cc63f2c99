// Follows adding-a-service.md to the letter in a copy of the repository: writes its code blocks,
// runs its commands, and calls the new service.
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startChild } from '../platform/child.ts'
import { root } from '../platform/processes/paths.ts'
import { watchTopic } from '../platform/testing/events.ts'

type Block = { language: string; code: string; file?: string }

/** Returns the page's code blocks; `file` is the path on the line before, if there is one. */
function codeBlocks(markdown: string): Block[] {
  const pattern = /(?:^`([^`\n]+)`\n\n)?^```(\w+)\n([\s\S]*?)^```$/gm
  return [...markdown.matchAll(pattern)].map(([, file, language = '', code = '']) => ({
    language,
    code,
    ...(file === undefined ? {} : { file }),
  }))
}

const blocks = codeBlocks(readFileSync(join(import.meta.dirname, 'adding-a-service.md'), 'utf8'))
const commands = blocks.filter(({ language }) => language === 'sh').flatMap(({ code }) => code.trim().split('\n'))

// Outside the clone, whose .gitignore the linters would heed, and always in the same place: by the
// state in .sidecart the next start finds and ends what an interrupted run has left.
const clone = createHash('sha256').update(root).digest('hex').slice(0, 8)
const copy = join(tmpdir(), `adding-a-service-${clone}`)
const bin = join(root, 'node_modules', '.bin')
const env = { ...process.env, PATH: `${bin}:${process.env['PATH']}` }

/** Runs a program in the copy to its end and returns its output. */
async function run(file: string, ...args: string[]): Promise<{ code: number; output: string }> {
  let output = ''
  const { code } = await startChild(file, args, { cwd: copy, env, onOutput: (text) => (output += text) }).ended
  return { code: code ?? 1, output }
}

async function succeed(file: string, ...args: string[]): Promise<string> {
  const { code, output } = await run(file, ...args)
  if (code !== 0) throw new Error(`${[file, ...args].join(' ')} failed:\n${output}`)
  return output
}

/** Runs code in the copy with the shop's own functions. */
const withShop = (code: string) =>
  succeed('node', '--input-type=module', '-e', `import * as shop from './platform/start/shop.ts'\n${code}`)

function copyRepository(): void {
  mkdirSync(copy, { recursive: true })
  for (const name of readdirSync(copy)) if (name !== '.sidecart') rmSync(join(copy, name), { recursive: true })
  const files = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], { cwd: root })
  for (const file of files.toString().split('\n').filter(Boolean)) {
    if (existsSync(join(root, file))) cpSync(join(root, file), join(copy, file))
  }
  // The layout test asks git for the files.
  execFileSync('git', ['init', '--quiet'], { cwd: copy })
  symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'))
}

/** Writes a block to its file. A diff's context must be in the file exactly once. */
function write({ file, language, code }: Block & { file: string }): void {
  const path = join(copy, file)
  if (language !== 'diff') {
    expect(existsSync(path), `${file} exists already`).toBe(false)
    mkdirSync(dirname(path), { recursive: true })
    return writeFileSync(path, code)
  }
  const lines = code.trimEnd().split('\n')
  const side = (sign: string) => lines.flatMap((line) => (line.startsWith(sign) ? [] : [line.slice(1)])).join('\n')
  const parts = readFileSync(path, 'utf8').split(side('+'))
  expect(parts, `${file} has the context once`).toHaveLength(2)
  writeFileSync(path, parts.join(side('-')))
}

type Ports = { kafka: number }
let ports: Ports | undefined

beforeAll(async () => {
  copyRepository()
  for (const block of blocks) if (block.file !== undefined) write({ ...block, file: block.file })
}, 60_000)

afterAll(async () => {
  // Without ports something may still run: the copy stays, and with it what the next run must end.
  if (!ports) return
  await withShop("await (await shop.attachShop('default')).stop()")
  rmSync(copy, { recursive: true })
}, 120_000)

test('the page runs these commands and touches these places', () => {
  expect(commands).toEqual([
    'npm run generate',
    'npm run lint',
    'npm test -- services/wishlists layout.test.ts k8s/base.test.ts',
    'npm start',
    'npx node cli/try-wishlists.ts gateway',
    'npx node cli/try-wishlists.ts users',
  ])
  const places = blocks.flatMap(({ file }) => (file === undefined ? [] : [file.split('/').slice(0, 2).join('/')]))
  expect([...new Set(places)]).toEqual([
    'protos/shop',
    'services/wishlists',
    'components/wishlists',
    'dapr-config/wishlists',
    'components/kustomization.yaml',
    'dapr-config/kustomization.yaml',
    'platform/processes',
    'k8s/base',
    'images/Containerfile',
    'cli/try-wishlists.ts',
  ])
})

// The programs behind npm's scripts, which would install packages in the copy.
test('its code is generated and passes all checks and its own test', async () => {
  await succeed('buf', 'generate')
  await succeed('oxlint', '--deny-warnings')
  await succeed('tsc', '--noEmit')
  await succeed('buf', 'lint', 'protos', '--path', 'protos/shop')
  await succeed('oxfmt', '--check', '.')
  await succeed('vitest', 'run', '--project', 'unit', 'services/wishlists', 'layout.test.ts', 'k8s/base.test.ts')
}, 120_000)

test('the shop starts with it; its callers may call it, others may not, and its event arrives', async () => {
  const options = JSON.stringify({ instance: 'default', portBase: 'free', fresh: true, detach: true })
  const started = await withShop(`console.log('ports: ' + JSON.stringify((await shop.startShop(${options})).ports))
    process.exit()`)
  ports = JSON.parse(/^ports: (.*)$/m.exec(started)?.[1] ?? '') as Ports
  process.env['TEST_KAFKA_BROKERS'] = `127.0.0.1:${ports.kafka}`
  const { eventsOf, close } = await watchTopic('wishlists')
  try {
    expect(await succeed('node', 'cli/try-wishlists.ts', 'gateway')).toContain("{ skus: [ 'MUG-1' ] }")
    const refused = await run('node', 'cli/try-wishlists.ts', 'users')
    expect(refused.code).not.toBe(0)
    expect(refused.output).toContain('PERMISSION_DENIED')
    const [event] = await eventsOf('u-1', 1)
    expect(event).toMatchObject({
      type: 'wishlists.item-added.v1',
      source: 'wishlists',
      sequence: '1',
      data: { userId: 'u-1', sku: 'MUG-1' },
    })
  } finally {
    await close()
  }
}, 180_000)
