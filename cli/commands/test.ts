import { spawn } from 'node:child_process'
import { existsSync, globSync, readFileSync, rmSync } from 'node:fs'
import { join, relative } from 'node:path'
import { findPrograms } from '../../platform/cluster/requirements.ts'
import { root } from '../../platform/processes/paths.ts'
import { createProgress, type Progress } from '../../platform/progress.ts'
import { ensureConformanceSuite } from '../../pluggable/tests/conformance/suite.ts'
import { ensureParts } from '../../platform/parts/ensure.ts'
import { partNames } from '../../platform/parts/parts.ts'
import { dataServers } from '../../platform/processes/servers.ts'
import { startServers } from '../../platform/start/shop.ts'
import { checkKubernetes } from './lint-k8s.ts'
import { checkProtosAgainstMain } from './proto-compatibility.ts'

/**
 * Without arguments runs all checks, then all tests. With arguments runs vitest with them: a single
 * file starts only the servers it needs. Exit code 1 when anything fails.
 * @param options.cluster also runs the tests in a real cluster
 */
export async function test(
  args: string[],
  { keep = false, cluster = false }: { keep?: boolean; cluster?: boolean },
): Promise<void> {
  // Says what the machine lacks before the other tests have taken half an hour.
  if (cluster) findPrograms()
  const progress = createProgress()
  if (keep) {
    await startServers(dataServers, { instance: 'test', portBase: 'free', progress, detach: true })
  }
  if (args.length > 0) {
    progress.close()
    process.exitCode = await run('vitest', ['run', ...args])
    return
  }
  await ensureParts([...partNames, 'tilt'], progress)
  // Built here, where its progress is visible.
  await ensureConformanceSuite(progress)
  const checked = await Promise.allSettled([
    check(progress, 'Lint', 'oxlint', ['--deny-warnings']),
    check(progress, 'Type check', 'tsc', ['--noEmit']),
    check(progress, 'Lint protos', 'buf', ['lint', 'protos', '--path', 'protos/shop']),
    check(progress, 'Format', 'oxfmt', ['--check', '.']),
    progress.step({ title: 'Generated code' }, generatedIsFresh),
    progress.step({ title: 'Protos are compatible' }, () => checkProtosAgainstMain(root, bin('buf'))),
    progress.step({ title: 'Kubernetes YAML and workflows' }, () => checkKubernetes(progress)),
  ])
  progress.close()
  const failures = checked.flatMap((result) => (result.status === 'rejected' ? [(result.reason as Error).message] : []))
  for (const failure of failures) console.error(failure)
  // One at a time: two cores cannot run the whole shop and the other tests together.
  const runs = [['unit', 'int', 'chaos'], ['e2e'], ['tilt'], ['docs']]
  if (cluster) runs.push(['cluster'])
  for (const projects of runs) failures.push(...(await runProjects(projects)))
  if (!cluster)
    console.log('Left out: the tests in a real cluster (Linux and root). npm test -- --cluster runs them too.')
  if (failures.length === 0) return
  // Once more, where it is seen: many pages of other tests may have followed.
  console.error(`\n${failures.length} failed:\n\n${failures.join('\n\n')}`)
  process.exitCode = 1
}

/** What this program reads of Jest's format of results, which vitest writes too. */
type Results = {
  testResults: {
    name: string
    /** Of a file whose tests could not be run. */
    message: string
    assertionResults: { status: string; fullName: string; failureMessages: string[] }[]
  }[]
}

/** Runs all tests of some projects. Returns a text for each that failed. */
async function runProjects(projects: string[]): Promise<string[]> {
  const file = join(root, '.sidecart', `results-${projects[0]}.json`)
  rmSync(file, { force: true })
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${file}`]
  const code = await run('vitest', ['run', ...projects.flatMap((project) => ['--project', project]), ...reporters])
  if (code === 0) return []
  const results = existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Results).testResults : []
  const failed = results.flatMap(({ name, message, assertionResults }) => {
    const tests = assertionResults.filter(({ status }) => status === 'failed')
    const texts = tests.map(({ fullName, failureMessages }) => `${fullName}: ${failureMessages.join('\n')}`)
    if (message !== '') texts.push(message)
    return texts.map((text) => `${relative(root, name)}: ${text}`)
  })
  return failed.length > 0 ? failed : [`The tests of ${projects.join(', ')} ended with code ${code}`]
}

function check(progress: Progress, title: string, command: string, args: string[]): Promise<void> {
  return progress.step({ title }, async () => {
    const { code, output } = await capture(command, args)
    if (code !== 0) throw new Error(`${title} failed:\n${output}`)
  })
}

/** Compares the committed code with what the protos generate. */
async function generatedIsFresh(): Promise<void> {
  const fresh = join(root, '.sidecart', 'generated')
  const { code, output } = await capture('buf', ['generate', '--output', fresh])
  if (code !== 0) throw new Error(`buf generate failed:\n${output}`)
  const committed = join(root, 'protos', 'gen')
  const files = (folder: string) => globSync('**/*.ts', { cwd: folder }).sort()
  const read = (folder: string, file: string) => readFileSync(join(folder, file), 'utf8')
  const fromProtos = join(fresh, 'protos', 'gen')
  const same =
    files(fromProtos).join() === files(committed).join() &&
    files(fromProtos).every((file) => read(fromProtos, file) === read(committed, file))
  if (!same) throw new Error('protos/gen is out of date: run npm run generate and commit the result')
}

const bin = (command: string) => {
  const file = join(root, 'node_modules', '.bin', command)
  if (!existsSync(file)) throw new Error(`${command} is not installed: delete node_modules and retry`)
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
    // The terminal sends Ctrl-C to vitest too, which stops its servers; this process ends after it.
    const ignore = () => {}
    process.on('SIGINT', ignore)
    child.on('error', reject)
    child.on('close', (code) => {
      process.off('SIGINT', ignore)
      resolve(code ?? 1)
    })
  })
}
