// Unpacks a program from Debian's or Ubuntu's packages, without root and without installing it.
import { execFileSync } from 'node:child_process'
import { chmodSync, existsSync, globSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { Recipe } from './recipes.ts'
import { runLogged } from './run-logged.ts'
import { fits, parseVersion } from './version.ts'

/**
 * Unpacks a package and the libraries that it names; `bin/<name>` in the folder then runs the
 * program with these libraries.
 * @param program its path in the package
 * @param from the oldest suitable version
 * @param check arguments with which the program shows that it starts
 */
export function fromApt(name: string, program: string, from: number[], check = ['-v']): Recipe {
  return async (folder, log) => {
    const work = join(folder, 'packages')
    mkdirSync(work)
    const download = await createDownload(work, log, name)
    const [file = ''] = globSync(`${name}_*.deb`, { cwd: work })
    const field = (of: string) =>
      execFileSync('dpkg-deb', ['--field', join(work, file), of], { encoding: 'utf8' }).trim()
    const version = field('Version')
    if (!fits(parseVersion(version) ?? [], from))
      throw new Error(`apt-get has ${name} ${version}, which is older than ${from.join('.')}`)
    // The C library is that of this machine.
    const libraries = field('Depends')
      .split(',')
      .map((dependency) => dependency.trim().split(/[ :|]/)[0]!)
      .filter((dependency) => /^(lib|zlib)/.test(dependency) && dependency !== 'libc6')
    if (libraries.length > 0) await download(libraries)
    for (const deb of globSync('*.deb', { cwd: work }))
      await runLogged(log, 'dpkg-deb', ['--extract', join(work, deb), folder])
    rmSync(work, { recursive: true })
    if (!existsSync(join(folder, program))) throw new Error(`the package ${name} has no ${program}; see ${log}`)
    await runLogged(log, writeStarter(folder, name, program), check)
  }
}

/**
 * Downloads the package and returns a function that downloads others in the same way: with the
 * machine's lists of packages or, where those are missing or outdated, with new ones.
 */
async function createDownload(work: string, log: string, name: string) {
  const download = (names: string[], options: string[] = []) =>
    runLogged(log, 'apt-get', [...options, 'download', ...names], { cwd: work })
  try {
    await download([name])
    return download
  } catch {
    // Everything that needs root by default lies in `work`.
    const lists = join(work, 'lists')
    mkdirSync(join(lists, 'partial'), { recursive: true })
    const options = [`Dir::State::lists=${lists}`, `Dir::Cache=${work}`, 'APT::Sandbox::User='].flatMap((option) => [
      '-o',
      option,
    ])
    await runLogged(log, 'apt-get', [...options, 'update'], { cwd: work })
    await download([name], options)
    return (names: string[]) => download(names, options)
  }
}

/** Writes `bin/<name>`. @returns its path */
function writeStarter(folder: string, name: string, program: string): string {
  const libraries = [...new Set(globSync('**/*.so.*', { cwd: folder }).map((file) => `$here/${dirname(file)}`))]
  const starter = join(folder, 'bin', name)
  mkdirSync(dirname(starter))
  writeFileSync(
    starter,
    `#!/bin/sh
here=$(cd "$(dirname "$0")/.." && pwd)
LD_LIBRARY_PATH="${libraries.join(':')}" exec "$here/${program}" "$@"
`,
  )
  chmodSync(starter, 0o755)
  return starter
}
