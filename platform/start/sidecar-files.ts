// What sidecars and their components need on disk, renewed at each start.
import { mkdirSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import type { Paths } from '../processes/paths.ts'
import { replicaName } from '../processes/replicas.ts'
import { componentSockets } from '../processes/service-processes.ts'
import { serviceNames, type ServiceName } from '../processes/services.ts'

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
export function prepareSocketFolders(paths: Paths, replicas: ServiceName[] = []): void {
  const second = replicas.map((service) => join(paths.sockets, replicaName(service)))
  for (const folder of [...serviceNames.map((service) => componentSockets(paths, service)), ...second]) {
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    for (const name of readdirSync(folder)) if (name.endsWith('.sock')) rmSync(join(folder, name), { force: true })
  }
}
