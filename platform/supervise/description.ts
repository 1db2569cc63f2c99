// What `npm run status` adds to what the supervisor knows, recorded at each start.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Paths } from '../processes/paths.ts'
import type { Process } from '../processes/process.ts'
import { writePrivate } from '../processes/secrets.ts'

export type Described = Pick<Process, 'name' | 'kind' | 'ports' | 'health'>

const describedFile = (paths: Paths) => join(paths.generated, 'processes.json')

export function recordDescription(paths: Paths, processes: Process[]): void {
  const described = processes.map(({ name, kind, ports, health }): Described => ({
    name,
    kind,
    ports,
    ...(health && { health }),
  }))
  writePrivate(describedFile(paths), JSON.stringify(described))
}

/** Returns a shop's processes, in the order of their description. @throws Error if none started */
export function described(paths: Paths): Described[] {
  return JSON.parse(readFileSync(describedFile(paths), 'utf8')) as Described[]
}
