import { appendFileSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { createPaths } from '../../platform/processes/paths.ts'
import { currentInstance } from '../../platform/supervise/instance.ts'

/**
 * Opens the record of imported products, from which an interrupted import resumes.
 * @param name names the import: the same file into the same shop has the same record
 * @param resume false forgets what an earlier import recorded
 */
export function openJournal(name: string, resume: boolean) {
  const file = join(createPaths(currentInstance().instance).state, 'imports', name)
  if (!resume) rmSync(file, { force: true })
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
  return {
    /** Handles of products that were imported before. */
    done: new Set(readLines(file)),
    add: (handle: string) => appendFileSync(file, `${handle}\n`),
    /** Deletes the record of a completed import. */
    remove: () => rmSync(file, { force: true }),
  }
}

/** Returns complete lines only: the last one may have been cut off. */
function readLines(file: string): string[] {
  try {
    return readFileSync(file, 'utf8').split('\n').slice(0, -1)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}
