// What a program of this clone is made of, for whoever restarts it after an edit.
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'

/**
 * Returns the folders, relative to the clone, whose files a program imports: a service's own
 * folder, lib, and the folders of generated code that it uses, directly or through others.
 */
export function importedFolders(program: string, root: string): string[] {
  const files = new Set<string>()
  const visit = (file: string) => {
    if (files.has(file) || !existsSync(join(root, file))) return
    files.add(file)
    for (const imported of importsOf(file, root)) visit(imported)
  }
  visit(program)
  return [...new Set([...files].map(watchedFolder))].toSorted()
}

function importsOf(file: string, root: string): string[] {
  return [...readFileSync(join(root, file), 'utf8').matchAll(/(?:from|import)\s*\(?\s*['"]([^'"]+)['"]/g)].flatMap(
    ([, name = '']) => {
      if (name.startsWith('#lib/')) return [name.slice(1)]
      if (name.startsWith('#protos/')) return [name.replace('#protos/', 'protos/gen/')]
      return name.startsWith('.') ? [relative(root, join(root, dirname(file), name))] : []
    },
  )
}

/** Generated code is watched by package, all other code by module: services/orders, lib. */
function watchedFolder(file: string): string {
  if (file.startsWith('protos/gen/')) return dirname(file)
  const [first = '', second = ''] = file.split('/')
  return first === 'lib' ? first : join(first, second)
}
