import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { isStale, makeOnce } from './cache.ts'
import { startTime } from '../process-info.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sidecart-cache-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

describe('makeOnce', () => {
  test('two makers at once: one makes, both find it', async () => {
    let made = 0
    const make = async (empty: string) => {
      made += 1
      await new Promise((resolve) => setTimeout(resolve, 20))
      writeFileSync(join(empty, 'binary'), 'x')
    }
    const part = join(folder, 'part-1')
    await Promise.all([makeOnce(part, make), makeOnce(part, make)])
    expect(made).toBe(1)
    expect(readdirSync(folder)).toEqual(['part-1'])
  })

  test('a failed maker leaves nothing that looks finished', async () => {
    const part = join(folder, 'part-1')
    const failing = makeOnce(part, async (empty) => {
      writeFileSync(join(empty, 'half'), 'x')
      throw new Error('cut off')
    })
    await expect(failing).rejects.toThrow('cut off')
    expect(readdirSync(folder)).toEqual([])
  })

  test('the lock and the unfinished folder of a killed maker are removed', async () => {
    const part = join(folder, 'part-1')
    mkdirSync(join(folder, '.part-1.making-1'))
    writeFileSync(`${part}.lock`, JSON.stringify({ pid: process.pid, started: 'another time' }))
    await makeOnce(part, async (empty) => writeFileSync(join(empty, 'binary'), 'new'))
    expect(readFileSync(join(part, 'binary'), 'utf8')).toBe('new')
    expect(readdirSync(folder)).toEqual(['part-1'])
    expect(existsSync(`${part}.lock`)).toBe(false)
  })
})

test('a lock is stale when its pid now belongs to another process', () => {
  const started = startTime(process.pid) ?? ''
  expect(isStale({ pid: process.pid, started })).toBe(false)
  expect(isStale({ pid: process.pid, started: `${started}0` })).toBe(true)
})
