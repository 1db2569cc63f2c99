import { execFileSync } from 'node:child_process'
import { appendFileSync, cpSync, globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test, vi } from 'vitest'
import { checkProtosAgainstMain } from './proto-compatibility.ts'

const root = join(import.meta.dirname, '..', '..')
const buf = join(root, 'node_modules', '.bin', 'buf')

// git and buf are slow to start on a busy machine.
vi.setConfig({ testTimeout: 30_000 })

/** Creates a repository whose main has the project's protos, their generated code included. */
function createClone({ withRule = true } = {}): string {
  const clone = mkdtempSync(join(tmpdir(), 'protos-'))
  onTestFinished(() => rmSync(clone, { recursive: true, force: true }))
  cpSync(join(root, 'protos'), join(clone, 'protos'), { recursive: true })
  const config = readFileSync(join(root, 'buf.yaml'), 'utf8')
  writeFileSync(join(clone, 'buf.yaml'), withRule ? config : config.slice(0, config.indexOf('breaking:')))
  const git = (...args: string[]) => execFileSync('git', args, { cwd: clone, stdio: 'pipe' })
  git('init', '--quiet', '--initial-branch=main')
  git('add', '.')
  git('-c', 'user.name=test', '-c', 'user.email=test@example.com', 'commit', '--quiet', '-m', 'main')
  return clone
}

const protos = globSync('protos/shop/**/*.proto', { cwd: root })

/** Deletes the first field with number 1. */
function deleteField(file: string): void {
  const text = readFileSync(file, 'utf8')
  const broken = text.replace(/^ {2}[\w.]+ \w+ = 1;.*\n/m, '')
  expect(broken).not.toBe(text)
  writeFileSync(file, broken)
}

test.each(protos)('a field deleted from %s is an error', async (proto) => {
  const clone = createClone()
  deleteField(join(clone, proto))
  await expect(checkProtosAgainstMain(clone, buf)).rejects.toThrow(/break clients of main:[^]*deleted/)
})

test('a deleted proto is an error', async () => {
  const clone = createClone()
  rmSync(join(clone, 'protos/shop/payments/v1/payments.proto'))
  await expect(checkProtosAgainstMain(clone, buf)).rejects.toThrow('break clients of main')
})

test('unchanged protos and new messages pass', async () => {
  const clone = createClone()
  await checkProtosAgainstMain(clone, buf)
  appendFileSync(join(clone, protos[0]!), '\nmessage Added {}\n')
  await checkProtosAgainstMain(clone, buf)
})

test('a main without the rule, and a clone without main, are skipped', async () => {
  const unguarded = createClone({ withRule: false })
  deleteField(join(unguarded, protos[0]!))
  await checkProtosAgainstMain(unguarded, buf)
  const detached = createClone()
  deleteField(join(detached, protos[0]!))
  execFileSync('git', ['branch', '--quiet', '--move', 'main', 'other'], { cwd: detached })
  await checkProtosAgainstMain(detached, buf)
})
