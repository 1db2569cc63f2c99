import { spawnSync } from 'node:child_process'
import Table from 'cli-table3'
import { findPart, isInstalled, lackingTools } from '../../platform/parts/find.ts'
import {
  optionalPartNames,
  partNames,
  parts,
  type OptionalPartName,
  type PartName,
} from '../../platform/parts/parts.ts'
import { parseVersion } from '../../platform/parts/version.ts'
import { describeQuickWay, type Docker } from './quick-way.ts'

type Row = {
  version: string
  where: string
  /** Missing: the next start builds it. Unavailable: it cannot. */
  state: 'found' | 'missing' | 'unavailable'
}

/**
 * Prints where each part was found and its version, or how to get it, then the quickest way to a
 * shop on this machine. Exit code 1 when a part can be neither found nor built.
 */
export function doctor(): void {
  const rows = partNames.map((name) => ({ name, ...describePart(name) }))
  const table = new Table({ style: { head: [], border: [], compact: true }, head: ['part', 'version', 'where'] })
  table.push(['Node', process.versions.node, process.execPath])
  for (const { name, version, where } of rows) table.push([parts[name].title, version, where])
  for (const name of optionalPartNames) table.push(describeOptionalPart(name))
  console.log(table.toString())

  const inState = (wanted: Row['state']) => rows.filter(({ state }) => state === wanted).map(({ name }) => name)
  const unavailable = inState('unavailable')
  console.log(describeQuickWay({ docker: findDocker(), missing: inState('missing'), unavailable }))
  if (unavailable.length > 0) process.exitCode = 1
}

function describePart(name: PartName): Row {
  const part = parts[name]
  try {
    const found = findPart(name)
    switch (found.from) {
      case 'address':
        return { version: '', where: found.detail, state: 'found' }
      case 'cache':
        return { version: part.cacheKey.replace(/^[a-z-]+-(?=\d)/, ''), where: found.path, state: 'found' }
      case 'binary':
      case 'path':
        return {
          version: parseVersion(found.printedVersion)?.join('.') ?? '',
          where: found.detail,
          state: 'found',
        }
      case 'nowhere': {
        const lacking = lackingTools(name)
        const misfits = found.detail ? `${found.detail}; ` : ''
        if (lacking.length === 0) {
          return {
            version: '',
            where: `${misfits}the next start builds it (${part.tools.join(', ')})`,
            state: 'missing',
          }
        }
        return {
          version: 'missing',
          where: `${misfits}no ${lacking.join(', no ')}: ${part.howToGet}`,
          state: 'unavailable',
        }
      }
    }
  } catch (error) {
    return { version: 'missing', where: (error as Error).message, state: 'unavailable' }
  }
}

/** A part that is missing is no failure where the shop can do without it. */
function describeOptionalPart(name: OptionalPartName): string[] {
  const { version, where, state } = describePart(name)
  const { title, without } = parts[name]
  return state === 'unavailable' ? [title, 'none', `${where}; until then ${without}`] : [title, version, where]
}

function findDocker(): Docker {
  if (!isInstalled('docker')) return 'absent'
  // An engine that hangs is as good as none.
  const succeeds = (...args: string[]) => spawnSync('docker', args, { timeout: 2_000 }).status === 0
  if (!succeeds('info')) return 'no engine'
  return succeeds('compose', 'version') ? 'works' : 'no compose'
}
