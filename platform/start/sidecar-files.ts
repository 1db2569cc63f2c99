// What sidecars and their components need on disk, renewed at each start.
import { mkdirSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import type { Paths } from '../processes/paths.ts'
import { componentSockets } from '../processes/service-processes.ts'
import { serviceNames } from '../processes/services.ts'

/**
 * Creates an empty name-resolution database. It is switched to WAL mode here, because SQLite cannot
 * wait for a lock while it changes the mode: one of several sidecars that start at once would fail
 * to, and daprd only logs that and is never found by the others.
 */
export function prepareNameResolution(paths: Paths): void {
  const file = join(paths.state, 'name-resolution.db')
  for (const suffix of ['', '-wal', '-shm']) rmSync(file + suffix, { force: true })
  const database = new DatabaseSync(file)
  database.exec('PRAGMA journal_mode = WAL; CREATE TABLE made (at TEXT)')
  database.close()
}

/**
 * Creates each sidecar's folder of sockets, and removes stale ones: they block a sidecar's start.
 */
export function prepareSocketFolders(paths: Paths): void {
  for (const service of serviceNames) {
    const folder = componentSockets(paths, service)
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    for (const name of readdirSync(folder)) if (name.endsWith('.sock')) rmSync(join(folder, name), { force: true })
  }
}
