// Copies what one image needs at run time: the files that its program imports or reads, and the
// packages that these and their packages need. The images contain nothing else.
//   node images/collect.ts orders /target     fills /target/packages and /target/app
import { createHash } from 'node:crypto'
import {
  chmodSync,
  cpSync,
  existsSync,
  globSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  writeFileSync,
} from 'node:fs'
import { basename, dirname, join, relative } from 'node:path'

export type Manifest = {
  name: string
  version: string
  license?: string
  imports?: Record<string, string>
  dependencies?: Record<string, string>
  optionalDependencies?: Record<string, string>
  peerDependencies?: Record<string, string>
}

export const readManifest = (folder: string) =>
  JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Manifest

/** Returns the main program of each image that is made of this repository's code. */
export function programs(root: string): Record<string, string> {
  const found = globSync('{services,pluggable}/*/main.ts', { cwd: root }).toSorted()
  return {
    ...Object.fromEntries(found.map((file) => [basename(dirname(file)), file])),
    'payment-sandbox': 'examples/payment-provider/main.ts',
    mailbox: 'examples/mailbox/main.ts',
    setup: 'platform/start/setup.ts',
  }
}

/** What a program reads at run time besides what it imports. */
function readAtRunTime(program: string): string[] {
  if (program === 'services/gateway/main.ts') return ['services/gateway/docs']
  // What a component announces to daprd by reflection.
  if (program.startsWith('pluggable/')) return ['protos/dapr/proto/components']
  // Who needs which database and which topic.
  if (program === 'platform/start/setup.ts') return ['components', 'dapr-config']
  return []
}

/** Returns what a module imports at run time, which excludes type imports. */
export function importsOf(source: string): string[] {
  const statements = source.matchAll(/^(?:import|export)\s+(?!type\s)(?:[^'"`;]*?\sfrom\s+)?['"]([^'"]+)['"]/gm)
  const calls = source.matchAll(/\bimport\(\s*['"]([^'"]+)['"]\s*\)/g)
  return [...statements, ...calls].map(([, specifier = '']) => specifier)
}

/**
 * Returns the files (relative to `root`) and packages that programs import, directly or not. Throws
 * Error for an import of a missing file.
 */
export function reachableFrom(root: string, mains: string[]): { files: string[]; packages: string[] } {
  const aliases = Object.entries(readManifest(root).imports ?? {}).map(
    ([name, target]) => [name.replace('*', ''), target.replace('*', '')] as const,
  )
  const files = new Set<string>()
  const packages = new Set<string>()
  const visit = (file: string) => {
    if (files.has(file)) return
    files.add(file)
    for (const specifier of importsOf(readFileSync(join(root, file), 'utf8'))) {
      const alias = aliases.find(([name]) => specifier.startsWith(name))
      if (alias) visit(join(alias[1], specifier.slice(alias[0].length)))
      else if (specifier.startsWith('.')) visit(join(dirname(file), specifier))
      else if (!specifier.startsWith('node:'))
        packages.add(
          specifier
            .split('/')
            .slice(0, specifier.startsWith('@') ? 2 : 1)
            .join('/'),
        )
    }
  }
  mains.forEach(visit)
  return { files: [...files].toSorted(), packages: [...packages].toSorted() }
}

/**
 * Returns the folders (relative to `root`) of packages and all their dependencies. Peer and
 * optional dependencies count if they are installed. Throws Error for a missing package.
 */
export function packageFolders(root: string, packages: string[]): string[] {
  const folders = new Set<string>()
  const visit = (name: string, from: string, needed: boolean) => {
    // Needed only by the declarations of other packages, not at run time.
    if (name.startsWith('@types/')) return
    // As Node resolves it: next to the importing package, then further up.
    let folder = from
    while (!existsSync(join(root, folder, 'node_modules', name, 'package.json'))) {
      if (folder === '.') {
        if (needed) throw new Error(`${name} is not installed, but ${from} needs it`)
        return
      }
      folder = dirname(folder)
    }
    const found = join(folder, 'node_modules', name)
    if (folders.has(found)) return
    folders.add(found)
    const { dependencies = {}, optionalDependencies = {}, peerDependencies = {} } = readManifest(join(root, found))
    for (const each of Object.keys(dependencies)) visit(each, found, !(each in optionalDependencies))
    for (const each of Object.keys({ ...optionalDependencies, ...peerDependencies })) visit(each, found, false)
  }
  for (const name of packages) visit(name, '.', true)
  return [...folders].toSorted()
}

/**
 * Returns what goes into an image: the files of this repository and the folders of packages, both
 * relative to `root` and sorted. Throws Error when no image has this name.
 */
export function contentsOf(root: string, name: string): { program: string; files: string[]; packages: string[] } {
  const all = programs(root)
  const program = all[name]
  if (!program) throw new Error(`there is no image ${name}, but: ${Object.keys(all).join(', ')}`)
  const { files, packages } = reachableFrom(root, [program])
  const read = readAtRunTime(program).flatMap((folder) =>
    globSync(`${folder}/**/*`, { cwd: root, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => relative(root, join(entry.parentPath, entry.name))),
  )
  return { program, files: [...new Set([...files, ...read, 'LICENSE'])].toSorted(), packages }
}

/** Returns a short name for the content of files, under `root`. */
export function hashFiles(root: string, files: string[]): string {
  const hash = createHash('sha256')
  for (const file of files) {
    const content = createHash('sha256')
      .update(readFileSync(join(root, file)))
      .digest('hex')
    hash.update(`${file} ${content}\n`)
  }
  return hash.digest('hex').slice(0, 16)
}

/** Of a package: declarations, sources that Node would refuse to strip, what its authors need. */
const forDevelopers =
  /\.([cm]?ts|map|md|markdown|flow|test\.[cm]?js)$|(^|\/)(__tests__|tests?|benchmarks?|\.github)(\/|$)/i
const legal = /(^|\/)(licen[sc]e|notice|copying|authors)[^/]*$/i

/** Copies one image's packages to `target`/packages and the rest to `target`/app. */
export function collect(root: string, name: string, target: string): void {
  const { files, packages } = contentsOf(root, name)
  const app = join(target, 'app')
  for (const file of files) cpSync(join(root, file), join(app, file))
  for (const folder of packageFolders(root, packages)) {
    const filter = (path: string) => {
      const inside = relative(join(root, folder), path)
      // Packages in its own node_modules are in the list themselves if needed.
      if (inside.split('/').includes('node_modules')) return false
      return legal.test(inside) || !forDevelopers.test(inside)
    }
    cpSync(join(root, folder), join(target, 'packages', folder), { recursive: true, dereference: true, filter })
  }
  mkdirSync(join(target, 'packages', 'node_modules'), { recursive: true })
  const { version, imports } = readManifest(root)
  const manifest = { name: `sidecart-${name}`, version, private: true, type: 'module', imports }
  writeFileSync(join(app, 'package.json'), JSON.stringify(manifest, undefined, 2))
  makeReproducible(target)
}

/** Sets modes and times that depend on nothing but the content: two builds then have one digest. */
function makeReproducible(path: string): void {
  const stats = lstatSync(path)
  if (stats.isDirectory()) for (const entry of readdirSync(path)) makeReproducible(join(path, entry))
  chmodSync(path, stats.isDirectory() || (stats.mode & 0o100) !== 0 ? 0o755 : 0o644)
  const time = Number(process.env['SOURCE_DATE_EPOCH'] ?? 0)
  lutimesSync(path, time, time)
}

if (import.meta.main) {
  const [name = '', target = ''] = process.argv.slice(2)
  if (!name || !target) throw new Error('usage: node images/collect.ts <image> <folder>')
  collect(join(import.meta.dirname, '..'), name, target)
}
