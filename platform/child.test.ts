import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { startChild, type ChildOptions } from './child.ts'
import { poll } from './poll.ts'
import { isAlive } from './process-info.ts'

const folder = mkdtempSync(join(tmpdir(), 'child-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const run = (script: string, options?: ChildOptions) => startChild(process.execPath, ['-e', script], options)
const listens = 'setInterval(() => {}, 1_000); console.log("up")'
const stubborn = `process.on("SIGTERM", () => {}); ${listens}`

describe('startChild', () => {
  test('reports the exit code once all output has been read', async () => {
    const child = run('process.stdout.write("x".repeat(100_000) + "end"); process.exitCode = 3')
    expect(child.end()).toBeUndefined()
    expect(await child.ended).toEqual({ code: 3, signal: null })
    expect(child.end()).toEqual({ code: 3, signal: null })
    expect(child.tail()).toHaveLength(8_000)
    expect(child.tail().endsWith('xend')).toBe(true)
  })

  test('passes on environment and folder, hands output over by stream and appends it to the log', async () => {
    const log = join(folder, 'log')
    writeFileSync(log, 'before\n')
    const taken = { stdout: '', stderr: '' }
    const child = run('console.log(process.env.ONLY, process.env.HOME, process.cwd()); console.error("bad")', {
      env: { ONLY: 'this' },
      cwd: folder,
      log,
      onOutput: (text, stream) => (taken[stream] += text),
    })
    await child.ended
    expect(taken).toEqual({ stdout: `this undefined ${folder}\n`, stderr: 'bad\n' })
    expect(readFileSync(log, 'utf8').split('\n').toSorted()).toEqual(
      ['', 'bad', 'before', `this undefined ${folder}`].toSorted(),
    )
  })

  test('treats a program that does not exist as ended and says why', async () => {
    const child = startChild(join(folder, 'nowhere'), [])
    expect((await child.ended).code).not.toBe(0)
    expect([child.pid, child.tail()]).toEqual([0, expect.stringContaining('ENOENT')])
    await child.kill()
  })

  test('kills it when this process exits', async () => {
    const module = JSON.stringify(new URL('child.ts', import.meta.url).href)
    const parent = run(
      `import(${module}).then(({ startChild }) => {
         const child = startChild(process.execPath, ['-e', ${JSON.stringify(stubborn)}], {
           onOutput: () => { console.log(child.pid); setTimeout(() => process.exit(), 10) },
         })
       })`,
    )
    expect(await parent.ended).toEqual({ code: 0, signal: null })
    const pid = Number(parent.tail())
    expect(pid).toBeGreaterThan(0)
    await poll('the child is gone', () => !isAlive(pid), { timeoutMs: 5_000 })
  })
})

describe('kill', () => {
  test('asks first: a program may end in its own way', async () => {
    const child = run(`process.on("SIGTERM", () => process.exit(7)); ${listens}`)
    await child.ready('it is up', () => child.tail().includes('up'))
    expect(await child.kill()).toEqual({ code: 7, signal: null })
    expect(await child.kill('SIGKILL')).toEqual({ code: 7, signal: null })
  })

  test('ends a program that ignores SIGTERM after the deadline', async () => {
    const child = run(stubborn)
    await child.ready('it is up', () => child.tail().includes('up'))
    expect(await child.kill('SIGTERM', 100)).toEqual({ code: null, signal: 'SIGKILL' })
  })
})

describe('ready', () => {
  test('returns what the check found', async () => {
    const child = run(listens)
    expect(await child.ready('it prints', () => child.tail().trim() || undefined)).toBe('up')
    await child.kill()
  })

  test('throws with the output, without waiting, when the program ends first', async () => {
    const child = run('console.error("no such setting"); process.exit(2)')
    const began = Date.now()
    await expect(child.ready('it listens', () => false)).rejects.toThrow(
      /^it listens: ended with code 2\nno such setting\n$/,
    )
    expect(Date.now() - began).toBeLessThan(10_000)
  })

  test('kills a program that is not ready in time', async () => {
    const child = run(listens)
    const refuse = () => Promise.reject(new Error('connection refused'))
    await expect(child.ready('it listens', refuse, 300)).rejects.toThrow(/^it listens: .*connection refused\n/)
    expect(child.end()).toEqual({ code: null, signal: 'SIGKILL' })
  })
})
