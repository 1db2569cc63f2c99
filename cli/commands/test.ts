import { spawn, spawnSync } from 'node:child_process'
import { existsSync, globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from '../../platform/processes/paths.ts'
import { createProgress, type Progress } from '../../platform/progress.ts'
import { ensureConformanceSuite } from '../../pluggable/tests/conformance/suite.ts'
import { ensureParts } from '../../platform/parts/ensure.ts'
import { partNames } from '../../platform/parts/parts.ts'
import { startServers } from '../../platform/start/shop.ts'

/**
 * Without arguments everything: linters and the type checker, then all tests. With arguments only
 * vitest with these: a file runs alone, with only the servers that it needs. Exit code 1 when
 * anything fails.
 */
export async function test(args: string[], { keep = false }: { keep?: boolean }): Promise<void> {
  const progress = createProgress()
  if (keep) {
    await startServers(['mongodb', 'mysql', 'kafka'], { instance: 'test', portBase: 'free', progress, detach: true })
  }
  if (args.length > 0) {
    progress.close()
    process.exitCode = await run('vitest', ['run', ...args])
    return
  }
  await ensureParts(partNames, progress)
  // Here, where its progress can be seen; it shares most of its packages with the sidecar.
  await ensureConformanceSuite(progress)
  const checked = await Promise.allSettled([
    check(progress, 'Lint', 'oxlint', ['--deny-warnings']),
    check(progress, 'Type check', 'tsc', ['--noEmit']),
    check(progress, 'Lint protos', 'buf', ['lint', 'protos', '--path', 'protos/shop']),
    check(progress, 'Format', 'oxfmt', ['--check', '.']),
    progress.step({ title: 'Generated code' }, generatedIsFresh),
    progress.step({ title: 'Protos are compatible' }, protosAreCompatible),
  ])
  progress.close()
  const failures = checked.flatMap((result) => (result.status === 'rejected' ? [(result.reason as Error).message] : []))
  for (const failure of failures) console.error(failure)
  // One after the other: the whole shop and the tests of its parts together are too much for two
  // cores.
  const codes = [await run('vitest', ['run', '--project', 'unit', '--project', 'int', '--project', 'chaos'])]
  if (globSync(join(root, 'e2e', '**', '*.test.ts')).length > 0)
    codes.push(await run('vitest', ['run', '--project', 'e2e']))
  // By itself: it starts a second shop.
  codes.push(await run('vitest', ['run', '--project', 'docs']))
  process.exitCode = failures.length > 0 || codes.some((code) => code !== 0) ? 1 : 0
}

function check(progress: Progress, title: string, command: string, args: string[]): Promise<void> {
  return progress.step({ title }, async () => {
    const { code, output } = await capture(command, args)
    if (code !== 0) throw new Error(`${title} failed:\n${output}`)
  })
}

/** Generates the protos' code beside the committed one and compares. */
async function generatedIsFresh(): Promise<void> {
  const fresh = join(root, '.sidecart', 'generated')
  const { code, output } = await capture('buf', ['generate', '--output', fresh])
  if (code !== 0) throw new Error(`buf generate failed:\n${output}`)
  const committed = join(root, 'protos', 'gen')
  const files = (folder: string) => globSync('**/*.ts', { cwd: folder }).sort()
  const read = (folder: string, file: string) => readFileSync(join(folder, file), 'utf8')
  const made = join(fresh, 'protos', 'gen')
  const same =
    files(made).join() === files(committed).join() &&
    files(made).every((file) => read(made, file) === read(committed, file))
  if (!same) throw new Error('protos/gen is not what the protos generate: npm run generate, then commit it')
}

/**
 * What a client of another language has compiled against main must keep working. A main that has no
 * rule for it yet guards nothing, and a clone without main (a shallow one in CI, say) has nothing
 * to compare with.
 */
async function protosAreCompatible(): Promise<void> {
  const git = (...args: string[]) => spawnSync('git', args, { cwd: root, encoding: 'utf8' })
  const main = ['origin/main', 'main'].find(
    (name) => git('rev-parse', '--verify', '--quiet', `${name}^{commit}`).status === 0,
  )
  if (main === undefined || !/^breaking:/m.test(git('show', `${main}:buf.yaml`).stdout)) return
  const commit = git('rev-parse', `${main}^{commit}`).stdout.trim()
  const { code, output } = await capture('buf', [
    'breaking',
    '--against',
    `.git#ref=${commit}`,
    '--path',
    'protos/shop',
  ])
  if (code !== 0) throw new Error(`The protos break clients of ${main}:\n${output}`)
}

const bin = (command: string) => {
  const file = join(root, 'node_modules', '.bin', command)
  if (!existsSync(file)) throw new Error(`${command} is not installed; delete node_modules and try again`)
  return file
}

function capture(command: string, args: string[]): Promise<{ code: number; output: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(bin(command), args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk: Buffer) => (output += chunk.toString()))
    child.on('error', reject)
    child.on('close', (code) => resolve({ code: code ?? 1, output }))
  })
}

function run(command: string, args: string[]): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(bin(command), args, { cwd: root, stdio: 'inherit' })
    // Ctrl-C reaches vitest by the terminal; it stops its servers and ends, and this process after
    // it.
    const ignore = () => {}
    process.on('SIGINT', ignore)
    child.on('error', reject)
    child.on('close', (code) => {
      process.off('SIGINT', ignore)
      resolve(code ?? 1)
    })
  })
}
