// Copies what one component needs to run into a folder of its own: the files that its main program
// imports, and the packages that those files and their packages need. The images hold nothing else.
//   node pluggable/image/collect.ts outbox-mysql /target
import { cpSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'

type Manifest = {
  version: string
  imports?: Record<string, string>
  dependencies?: Record<string, string>
  optionalDependencies?: Record<string, string>
  peerDependencies?: Record<string, string>
}

const readManifest = (folder: string) => JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Manifest

/** Loaded by name only: pino's worker for LOG_FORMAT=pretty. */
const loadedByName = ['pino-pretty']

/** What a module imports when it runs: type imports are gone by then. */
export function importsOf(source: string): string[] {
  const statements = source.matchAll(/^(?:import|export)\s+(?!type\s)(?:[^'"`;]*?\sfrom\s+)?['"]([^'"]+)['"]/gm)
  const calls = source.matchAll(/\bimport\(\s*['"]([^'"]+)['"]\s*\)/g)
  return [...statements, ...calls].map(([, specifier = '']) => specifier)
}

/**
 * The files (from `root`) and packages that programs reach. Throws Error for an import that leads
 * nowhere.
 */
export function reachableFrom(root: string, programs: string[]): { files: string[]; packages: string[] } {
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
  programs.forEach(visit)
  return { files: [...files].toSorted(), packages: [...packages].toSorted() }
}

/**
 * The folders (from `root`) of packages and of all that they depend on. Peers and optional ones
 * count where they are installed.
 */
export function packageFolders(root: string, packages: string[]): string[] {
  const folders = new Set<string>()
  const visit = (name: string, from: string, needed: boolean) => {
    // Packages whose declarations name them depend on them; nothing runs them.
    if (name.startsWith('@types/')) return
    // As Node looks for it: beside the one that asks, then further up.
    let folder = from
    while (!existsSync(join(root, folder, 'node_modules', name, 'package.json'))) {
      if (folder === '.') {
        if (needed) throw new Error(`${name}, which ${from} needs, is not installed`)
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

/** Copies one component's files and packages. */
export function collect(root: string, component: string, target: string): void {
  const { files, packages } = reachableFrom(root, [`pluggable/${component}/main.ts`, 'pluggable/host/healthcheck.ts'])
  // Read, not imported: what the component tells daprd of itself by reflection.
  const protos = 'protos/dapr/proto/components'
  for (const path of [...files, protos, 'LICENSE']) cpSync(join(root, path), join(target, path), { recursive: true })
  for (const folder of packageFolders(root, [...packages, ...loadedByName])) {
    // What lies in its own node_modules is in the list itself, where it is needed. Declarations and
    // source maps are for developers.
    const filter = (path: string) =>
      !/\.d\.[cm]?ts$|\.map$/.test(path) && !relative(join(root, folder), path).split('/').includes('node_modules')
    cpSync(join(root, folder), join(target, folder), { recursive: true, dereference: true, filter })
  }
  const { version, imports } = readManifest(root)
  writeFileSync(
    join(target, 'package.json'),
    JSON.stringify({ name: `sidecart-${component}`, version, private: true, type: 'module', imports }, undefined, 2),
  )
}

if (import.meta.main) {
  const [component = '', target = ''] = process.argv.slice(2)
  if (!component || !target) throw new Error('usage: node pluggable/image/collect.ts <component> <folder>')
  collect(join(import.meta.dirname, '..', '..'), component, target)
}
