// serve.sh, by which Tilt runs each process.
import { execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { startChild, type Child } from '../child.ts'
import { poll } from '../poll.ts'
import { isAlive } from '../process-info.ts'
import type { Process } from '../processes/process.ts'
import { createPaths, root, type Paths } from '../processes/paths.ts'
import { renderTiltFile, tiltFolder } from './tilt-files.ts'

// The default of 5 s is too short on a busy machine.
vi.setConfig({ testTimeout: 30_000 })

let paths: Paths
const children: Child[] = []

beforeEach(() => {
  const folder = mkdtempSync(join(tmpdir(), 'serve-'))
  paths = { ...createPaths('test', folder, folder), root }
  mkdirSync(tiltFolder(paths), { recursive: true })
  mkdirSync(paths.logs, { recursive: true })
})

afterEach(async () => {
  await Promise.all(children.splice(0).map((child) => child.kill()))
  rmSync(join(paths.state, '..', '..'), { recursive: true, force: true })
})

function describe(name: string, own: Partial<Process>): Process {
  return {
    name,
    kind: 'service',
    command: ['sleep', '1000'],
    env: {},
    cwd: root,
    ports: [],
    waitsFor: {},
    stopsBefore: [],
    stopSeconds: 5,
    ...own,
  }
}

function serve(process: Process, all: Process[] = [process]): Child {
  const file = join(paths.state, `${process.name}.sh`)
  writeFileSync(file, renderTiltFile(process, all, paths))
  const child = startChild('bash', [file])
  children.push(child)
  return child
}

const note = (name: string) => join(tiltFolder(paths), `${name}.pid`)

async function pidOf(name: string, not?: number): Promise<number> {
  return poll(`${name} runs`, () => {
    const pid = existsSync(note(name)) ? Number(readFileSync(note(name), 'utf8').split(' ')[0]) : 0
    return pid !== 0 && pid !== not && pid
  })
}

const logFile = (name: string) => join(paths.logs, `${name}.log`)
const log = (name: string) => (existsSync(logFile(name)) ? readFileSync(logFile(name), 'utf8') : '')

/** Resolves when a script has set its traps. */
const untilReady = (name: string) => poll(`${name} is ready`, () => log(name).includes('ready'))

test('a process gets its own environment alone, with any characters, and its output is repeated', async () => {
  const value = `a'b "c" $HOME \`d\` \\ é`
  const child = serve(describe('env', { command: ['sh', '-c', 'env; exec sleep 1000'], env: { VALUE: value } }))
  await poll('the output', () => child.tail().includes(`VALUE=${value}`))
  expect(log('env')).not.toContain('VITEST')
  expect(log('env')).toContain('SIDECART_STATE=')
})

test('a process that is killed is started again', async () => {
  const child = serve(describe('killed', {}))
  const first = await pidOf('killed')
  process.kill(first, 'SIGKILL')
  const second = await pidOf('killed', first)
  expect(isAlive(second)).toBe(true)
  expect(child.end()).toBeUndefined()
})

test('a process that ends by itself at once ends serve.sh too, with its code and its last words', async () => {
  const child = serve(describe('broken', { command: ['sh', '-c', 'echo it is broken; exit 3'] }))
  expect(await child.ended).toMatchObject({ code: 3 })
  expect(child.tail()).toContain('it is broken')
  expect(child.tail()).toContain('broken ended with code 3')
})

test('SIGTERM is passed on as the signal that the process wants, and waits for its end', async () => {
  const script = 'trap "echo asked; exit 0" QUIT; echo ready; while true; do sleep 0.05; done'
  const child = serve(describe('quits', { command: ['bash', '-c', script], stopSignal: 'SIGQUIT' }))
  const pid = await pidOf('quits')
  await untilReady('quits')
  await child.kill('SIGTERM')
  expect(isAlive(pid)).toBe(false)
  expect(log('quits')).toContain('asked')
  expect(existsSync(note('quits'))).toBe(false)
})

test('a process that does not end in time is killed', async () => {
  const stubborn = describe('stubborn', {
    command: ['bash', '-c', 'trap "" TERM; echo ready; exec sleep 1000'],
    stopSeconds: 1,
  })
  const child = serve(stubborn)
  const pid = await pidOf('stubborn')
  await untilReady('stubborn')
  await child.kill('SIGTERM')
  expect(isAlive(pid)).toBe(false)
})

test('when Tilt has gone and its pipe is closed, a process still stops in its own time, and says so', async () => {
  const script = 'trap "sleep 0.3; echo stopped; exit 0" TERM; echo ready; while true; do echo tick; sleep 0.05; done'
  const talkative = describe('talkative', { command: ['bash', '-c', script] })
  const file = join(paths.state, 'talkative.sh')
  writeFileSync(file, renderTiltFile(talkative, [talkative], paths))
  // A group of its own, as Tilt starts it.
  const child = spawn('bash', [file], { detached: true, stdio: ['ignore', 'pipe', 'pipe'] })
  await untilReady('talkative')
  child.stdout.destroy()
  child.stderr.destroy()
  const length = log('talkative').length
  await poll('it is still heard', () => log('talkative').length > length + 50)
  process.kill(-child.pid!, 'SIGTERM')
  await poll('it has stopped', () => log('talkative').endsWith('stopped\n'))
  await poll('serve.sh has ended', () => child.exitCode === 0)
})

test('of those that are stopped together, a server ends after what needs it; alone it waits for none', async () => {
  const slow = 'trap "sleep 0.7; date +%s%N; exit 0" TERM; echo ready; while true; do sleep 0.05; done'
  const user = describe('user', { command: ['bash', '-c', slow], stopsBefore: ['server'] })
  const fast = 'trap "date +%s%N; exit 0" TERM; echo ready; while true; do sleep 0.05; done'
  const server = describe('server', { kind: 'server', command: ['bash', '-c', fast] })
  const all = [user, server]
  const [userChild, serverChild] = [serve(user, all), serve(server, all)]
  await Promise.all([untilReady('user'), untilReady('server')])
  await Promise.all([serverChild.kill('SIGTERM'), userChild.kill('SIGTERM')])
  const ended = (name: string) => BigInt(log(name).replace('ready', '').trim())
  expect(ended('server')).toBeGreaterThan(ended('user'))

  serve(user, all)
  const again = serve(server, all)
  const pid = await pidOf('user')
  await pidOf('server')
  await again.kill('SIGTERM')
  expect(isAlive(pid)).toBe(true)
})

test('with the note that all are to stop, the first that is stopped passes it on', async () => {
  const all = [describe('one', {}), describe('two', {})]
  const [one, two] = all.map((each) => serve(each, all))
  await Promise.all([pidOf('one'), pidOf('two')])
  writeFileSync(join(tiltFolder(paths), 'stop-all'), '')
  await one?.kill('SIGTERM')
  expect(await two?.ended).toMatchObject({ code: 0 })
})

test('bash finds nothing to complain about', () => {
  for (const script of ['serve.sh', 'task.sh'])
    execFileSync('bash', ['-n', join(root, 'platform', 'supervise', script)])
})
