// No process is ever left behind. What the supervisor starts outlives it when it is killed, so
// every pid is recorded with its start time, and the next start (or stop) ends what is still there.
import { existsSync, readFileSync, readdirSync, readlinkSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import type { Paths } from '../processes/paths.ts'
import { poll } from '../poll.ts'
import { isAlive, startTime } from '../process-info.ts'

export type Recorded = { name: string; pid: number; started: string }

export function readPids(file: string): Recorded[] {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as Recorded[]
  } catch {
    return []
  }
}

/** Adds processes to the record. Those that have ended are forgotten. */
export function recordPids(file: string, processes: { name: string; pid: number }[]): void {
  const known = readPids(file).filter(({ pid, started }) => isAlive(pid, started))
  for (const { name, pid } of processes) {
    const started = startTime(pid)
    if (started !== undefined && !known.some((one) => one.pid === pid)) known.push({ name, pid, started })
  }
  const temporary = `${file}.${process.pid}`
  writeFileSync(temporary, JSON.stringify(known), { mode: 0o600 })
  renameSync(temporary, file)
}

/** Records this process as the one that will stop the shop. */
export function takeOwnership(file: string): void {
  rmSync(file, { force: true })
  recordPids(file, [{ name: 'starter', pid: process.pid }])
}

/** The shop is left running on purpose. */
export function disown(file: string): void {
  rmSync(file, { force: true })
}

/** Whether whoever was to stop the shop has ended without doing so. */
export function isAbandoned(file: string): boolean {
  const owners = readPids(file)
  return owners.length > 0 && stillAlive(owners).length === 0
}

/** Those of a record that still run; a pid that another process has by now is none of them. */
export function stillAlive(recorded: Recorded[], alive: typeof isAlive = isAlive): Recorded[] {
  return recorded.filter(({ pid, started }) => alive(pid, started))
}

/**
 * Everything of this shop that runs: by the record, and (a process that was restarted after the
 * last look is in no record) by the mark that each one carries in its environment.
 */
export function findLeftovers(paths: Paths): Recorded[] {
  const found = stillAlive(readPids(paths.pids))
  for (const pid of markedProcesses(paths)) {
    const started = startTime(pid)
    if (started !== undefined && !found.some((one) => one.pid === pid))
      found.push({ name: commandOf(pid), pid, started })
  }
  return found
}

/**
 * Name of the variable that every process of a shop carries, with the shop's state folder as its
 * value.
 */
export const markVariable = 'SIDECART_STATE'

function markedProcesses(paths: Paths): number[] {
  // Other systems do not show another process's environment; there the record has to do.
  if (process.platform !== 'linux' || !existsSync('/proc')) return []
  const mark = `${markVariable}=${paths.state}`
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => pid !== process.pid && environmentOf(pid).includes(mark))
}

function environmentOf(pid: number): string[] {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0')
  } catch {
    return []
  }
}

function commandOf(pid: number): string {
  try {
    return readlinkSync(`/proc/${pid}/exe`).split('/').at(-1) ?? String(pid)
  } catch {
    return String(pid)
  }
}

/**
 * Ends what is left of a shop: the supervisor first (it would restart the others), then what uses
 * the servers (a sidecar that cannot leave its consumer group delays that group's next start by
 * half a minute), then the servers, first asked, then killed.
 * @returns what was ended
 * @throws Error when something does not end even when it is killed
 */
export async function endLeftovers(paths: Paths): Promise<Recorded[]> {
  const ended: Recorded[] = []
  const supervisors = findLeftovers(paths).filter(({ name }) => name === 'supervisor' || name === 'process-compose')
  for (const one of supervisors) signal(one, 'SIGKILL')
  await poll('the supervisor ends', () => stillAlive(supervisors).length === 0, { timeoutMs: 5_000, intervalMs: 50 })
  ended.push(...supervisors)

  const isServer = ({ name }: Recorded) => servers.test(name)
  const others = findLeftovers(paths)
  await ask(
    others.filter((one) => !isServer(one)),
    12_000,
  )
  await ask(others.filter(isServer), 20_000)
  for (const stubborn of findLeftovers(paths)) signal(stubborn, 'SIGKILL')
  await poll('the killed processes end', () => findLeftovers(paths).length === 0, { timeoutMs: 10_000, intervalMs: 50 })
  return [...ended, ...others]
}

/** By their name in the record, or by their program. */
const servers = /^(mongodb|mysql|kafka|mongod|secantusd-rs|mysqld|mariadbd|java)$/

async function ask(processes: Recorded[], timeoutMs: number): Promise<void> {
  for (const one of processes) signal(one, 'SIGTERM')
  await poll('the processes end', () => stillAlive(processes).length === 0, { timeoutMs, intervalMs: 50 }).catch(
    () => {},
  )
}

function signal({ pid, started }: Recorded, name: NodeJS.Signals): void {
  if (!isAlive(pid, started)) return
  try {
    process.kill(pid, name)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}
