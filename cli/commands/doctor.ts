import { spawnSync } from 'node:child_process'
import Table from 'cli-table3'
import { findPart } from '../../platform/parts/find.ts'
import { partNames, parts } from '../../platform/parts/parts.ts'
import { parseVersion } from '../../platform/parts/version.ts'

/**
 * Says of each part where it is and which version, or how to get it. Exit code 1 when a part can
 * not even be built.
 */
export function doctor(): void {
  const table = new Table({ style: { head: [], border: [], compact: true }, head: ['part', 'version', 'where'] })
  table.push(['Node', process.versions.node, process.execPath])
  for (const name of partNames) table.push(describePart(name))
  console.log(table.toString())
}

function describePart(name: (typeof partNames)[number]): [string, string, string] {
  const part = parts[name]
  try {
    const found = findPart(name)
    switch (found.from) {
      case 'address':
        return [part.title, '', found.detail]
      case 'cache':
        return [part.title, part.cacheKey.replace(/^[a-z-]+-(?=\d)/, ''), found.path]
      case 'binary':
      case 'path':
        return [part.title, parseVersion(found.printedVersion)?.join('.') ?? '', found.detail]
      case 'nowhere': {
        const lacking = part.tools.filter((tool) => !isInstalled(tool))
        const misfits = found.detail ? `${found.detail}; ` : ''
        if (lacking.length === 0)
          return [part.title, '', `${misfits}the next start makes it (${part.tools.join(', ')})`]
        process.exitCode = 1
        return [part.title, 'missing', `${misfits}no ${lacking.join(', no ')}: ${part.howToGet}`]
      }
    }
  } catch (error) {
    process.exitCode = 1
    return [part.title, 'missing', (error as Error).message]
  }
}

function isInstalled(tool: string): boolean {
  return spawnSync('sh', ['-c', `command -v ${tool}`]).status === 0
}
