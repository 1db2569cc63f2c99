import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import {
  disown,
  endLeftovers,
  isAbandoned,
  markVariable,
  readPids,
  recordPids,
  stillAlive,
  takeOwnership,
} from './leftovers.ts'
import { createPaths } from '../processes/paths.ts'
import { isAlive, parseStat } from '../process-info.ts'

test('a pid that now belongs to another process does not count as ours', () => {
  const recorded = [{ name: 'orders', pid: process.pid, started: 'before' }]
  expect(stillAlive(recorded)).toEqual([])
})

test('a shop is abandoned once its starter has ended, unless it was disowned', () => {
  const folder = mkdtempSync(join(tmpdir(), 'sidecart-owner-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const owner = join(folder, 'owner.json')
  expect(isAbandoned(owner)).toBe(false)
  takeOwnership(owner)
  expect(isAbandoned(owner)).toBe(false)
  writeFileSync(owner, JSON.stringify([{ name: 'starter', pid: process.pid, started: 'before' }]))
  expect(isAbandoned(owner)).toBe(true)
  disown(owner)
  expect(isAbandoned(owner)).toBe(false)
})

test('the start time is read from a stat line whose program name contains parentheses and spaces', () => {
  const fields = Array.from({ length: 30 }, (_, index) => String(index + 4))
  expect(parseStat(`77 (a) b (c)) S ${fields.join(' ')}`)).toBe('22')
  expect(parseStat(`77 (gone) Z ${fields.join(' ')}`)).toBeUndefined()
})

test('leftovers of a shop are ended, recorded or not, and nothing else', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'sidecart-left-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const paths = { ...createPaths('default', folder), pids: join(folder, 'pids.json') }
  const sleeper = (env: NodeJS.ProcessEnv) => {
    const { pid = 0 } = spawn('sleep', ['60'], { env: { PATH: process.env['PATH'], ...env } })
    return pid
  }
  const recorded = sleeper({})
  const marked = sleeper({ [markVariable]: paths.state })
  const foreign = sleeper({ [markVariable]: '/another/shop' })
  onTestFinished(() => void process.kill(foreign))
  recordPids(paths.pids, [{ name: 'orders', pid: recorded }])
  expect(readPids(paths.pids)).toHaveLength(1)

  await endLeftovers(paths)

  expect([recorded, marked, foreign].map((pid) => isAlive(pid))).toEqual([false, false, true])
})
