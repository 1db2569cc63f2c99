import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { poll } from '../poll.ts'
import type { Paths } from '../processes/paths.ts'
import { disown, endLeftovers, findLeftovers, recordRunning } from '../supervise/leftovers.ts'
import { stopProject } from '../supervise/process-compose.ts'
import { processStates } from '../supervise/supervisor.ts'
import { findTilt } from '../supervise/tilt.ts'
import { isRunning } from './readiness.ts'

/**
 * Stops every process of a shop: the supervisor, which may be Tilt, stops them in order, and what
 * does not end is killed.
 * @throws Error when a process is left
 */
export async function stopShop(paths: Paths): Promise<void> {
  if (await isRunning(paths)) {
    recordRunning(paths.pids, await processStates(paths).catch(() => []))
    const tilt = findTilt(paths)
    if (tilt === undefined) await stopProject(paths).catch(() => {})
    else process.kill(tilt.pid, 'SIGTERM')
    await poll('the processes end', () => findLeftovers(paths).length === 0, { timeoutMs: 25_000 }).catch(() => {})
  }
  await endLeftovers(paths)
  rmSync(paths.pids, { force: true })
  disown(paths.owner)
  rmSync(paths.supervisorSocket, { force: true })
}

/** Deletes the data of a stopped shop, as if it had never run; secrets and certificates stay. */
export function deleteData(paths: Paths): void {
  // Components keep their relay settings next to their sockets, and an import its progress.
  for (const folder of [paths.data, paths.sockets, join(paths.state, 'imports')])
    rmSync(folder, { recursive: true, force: true })
}
