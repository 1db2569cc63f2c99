import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { cpus, release, totalmem, type } from 'node:os'
import { join } from 'node:path'
import { root } from '../platform/processes/paths.ts'
import { findPart } from '../platform/parts/find.ts'
import { parseVersion } from '../platform/parts/version.ts'

export type Machine = { cores: number; model: string; memoryGiB: number; system: string }

export function describeMachine(): Machine {
  return {
    cores: cpus().length,
    model: cpus()[0]?.model.trim() ?? '',
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    system: `${type()} ${release()}`,
  }
}

/**
 * Measures the share of CPU time, 0 to 1, that the host gives to others from now on ("steal",
 * proc_stat(5)): a virtual machine with busy neighbours is slow at times. Undefined where the
 * system does not report it.
 */
export function watchSteal(): () => number | undefined {
  const ticks = () => {
    try {
      return readFileSync('/proc/stat', 'utf8').split('\n')[0]!.split(/\s+/).slice(1, 9).map(Number)
    } catch {
      return undefined
    }
  }
  const before = ticks()
  return () => {
    const after = ticks()
    if (!before || !after) return undefined
    const spent = after.map((value, i) => value - before[i]!)
    return spent[7]! / spent.reduce((sum, value) => sum + value, 0)
  }
}

/** Returns the versions of everything but the databases, which report their own. */
export function describeVersions(): Record<string, string> {
  const installed = (name: string) =>
    (JSON.parse(readFileSync(join(root, 'node_modules', name, 'package.json'), 'utf8')) as { version: string }).version
  const printed = (name: 'daprd' | 'kafka' | 'mongodb') => {
    const found = findPart(name)
    return 'printedVersion' in found ? found.printedVersion.split('\n')[0]! : found.detail
  }
  const numbered = (name: 'daprd' | 'kafka') => parseVersion(printed(name))?.join('.') ?? printed(name)
  return {
    sidecart: commit(),
    node: process.versions.node,
    daprd: numbered('daprd'),
    kafka: numbered('kafka'),
    'mongodb server': printed('mongodb'),
    mysql2: installed('mysql2'),
    'mongodb driver': installed('mongodb'),
    kafkajs: installed('kafkajs'),
  }
}

function commit(): string {
  try {
    const git = (...args: string[]) =>
      execFileSync('git', args, { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim()
    const changes = git('status', '--porcelain', '--', 'pluggable', 'lib', ':(glob)bench/*.ts')
    return `${git('rev-parse', '--short', 'HEAD')}${changes ? ' with changes' : ''}`
  } catch {
    return 'unknown'
  }
}
