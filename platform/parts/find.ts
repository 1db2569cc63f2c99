// Finds each server: an address in the environment, a program named in the environment, a suitable
// version on PATH or where its installer puts it, the cache. In this order.
import { spawnSync } from 'node:child_process'
import { accessSync, constants, existsSync, readdirSync, realpathSync, statSync } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import { cacheFolder } from './cache.ts'
import { parts, type PartName } from './parts.ts'
import { parseVersion } from './version.ts'

export type Found =
  | { from: 'address'; address: string; detail: string }
  | { from: 'binary' | 'path' | 'cache'; path: string; detail: string; printedVersion: string }
  | { from: 'nowhere'; detail: string }

/** Parts whose variable names a folder, which has the program's `file` in it. */
const homes = new Set<PartName>(['kafka', 'opensearch'])

/**
 * Finds a part; builds nothing.
 * @throws Error when a variable names a program that does not exist: an explicit choice is not
 * silently ignored
 */
export function findPart(name: PartName, env: NodeJS.ProcessEnv = process.env): Found {
  const part = parts[name]
  const address = part.addressVariable && env[part.addressVariable]
  if (address) return { from: 'address', address, detail: `${part.addressVariable} in the environment` }

  const named = env[part.binaryVariable]
  if (named) {
    const path = homes.has(name) ? join(named, part.file) : named
    if (!existsSync(path)) throw new Error(`${part.binaryVariable} is ${named}, but ${path} does not exist`)
    return {
      from: 'binary',
      path,
      detail: `${part.binaryVariable} in the environment`,
      printedVersion: printedVersion(name, path),
    }
  }

  const folders = [...(env['PATH'] ?? '').split(delimiter).filter(Boolean), ...part.installedIn]
  const misfits: string[] = []
  for (const folder of folders) {
    for (const command of part.commands) {
      const file = join(folder, command)
      if (!isProgram(file)) continue
      const path = name === 'kafka' ? join(dirname(dirname(realpathSync(file))), 'libs') : file
      if (!existsSync(path)) continue
      const printed = printedVersion(name, path)
      if (part.accepts(printed)) return { from: 'path', path, detail: file, printedVersion: printed }
      misfits.push(`${file} is not suitable (version ${parseVersion(printed)?.join('.') ?? 'unknown'})`)
    }
  }

  const cached = cachedPart(name, env)
  if (existsSync(cached.path)) return cached
  return { from: 'nowhere', detail: [...new Set(misfits)].join('; ') }
}

/** Returns a part as it is once it is built, whether it is or not. */
export function cachedPart(name: PartName, env: NodeJS.ProcessEnv = process.env): Extract<Found, { path: string }> {
  const { cacheKey, file } = parts[name]
  const path = join(cacheFolder(env), cacheKey, file)
  // The key tells the version: no program has to be started for it.
  return { from: 'cache', path, detail: path, printedVersion: cacheKey }
}

/** Returns the commands that a part's recipe needs and that are not installed. */
export function lackingTools(name: PartName): string[] {
  return parts[name].tools.filter((tool) => !isInstalled(tool))
}

export function isInstalled(command: string): boolean {
  return spawnSync('sh', ['-c', `command -v ${command}`]).status === 0
}

function isProgram(file: string): boolean {
  try {
    accessSync(file, constants.X_OK)
    return statSync(file).isFile()
  } catch {
    return false
  }
}

function printedVersion(name: PartName, path: string): string {
  if (name === 'kafka') {
    const jar = readdirSync(path).find((file) => /^kafka_2\.\d+-[\d.]+\.jar$/.test(file))
    return jar?.replace(/^kafka_2\.\d+-|\.jar$/g, '') ?? ''
  }
  const { versionArguments } = parts[name]
  if (versionArguments.length === 0) return ''
  const { stdout, stderr } = spawnSync(path, versionArguments, { encoding: 'utf8', timeout: 10_000 })
  // Programs print it on either stream; some also log lines with other numbers on stderr.
  return stdout?.trim() || stderr?.trim() || ''
}
