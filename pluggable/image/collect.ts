// Copies what one component needs at run time into a folder: the files that its main program
// imports, and the packages that these and their packages need. The images contain nothing else.
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

/** Copies one component's files and packages. */
export function collect(root: string, component: string, target: string): void {
  const { files, packages } = reachableFrom(root, [`pluggable/${component}/main.ts`, 'pluggable/host/healthcheck.ts'])
  // Read, not imported: what the component announces to daprd by reflection.
  const protos = 'protos/dapr/proto/components'
  for (const path of [...files, protos, 'LICENSE']) cpSync(join(root, path), join(target, path), { recursive: true })
  for (const folder of packageFolders(root, packages)) {
    // Packages in its own node_modules are in the list themselves if needed. Declarations and
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
