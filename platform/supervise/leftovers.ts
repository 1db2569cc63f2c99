// No process is ever left behind. What the supervisor starts survives when the supervisor is
// killed, so every pid is recorded with its start time, and the next start or stop ends the rest.
import { existsSync, readFileSync, readdirSync, readlinkSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import type { Paths } from '../processes/paths.ts'
import { poll } from '../poll.ts'
import { isAlive, startTime } from '../process-info.ts'

export type RecordedProcess = { name: string; pid: number; started: string }

export function readPids(file: string): RecordedProcess[] {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as RecordedProcess[]
  } catch {
    return []
  }
}

/** Adds processes to the record and drops those that have ended. */
export function recordPids(file: string, processes: { name: string; pid: number }[]): void {
  const known = readPids(file).filter(({ pid, started }) => isAlive(pid, started))
  for (const { name, pid } of processes) {
    const started = startTime(pid)
    if (started !== undefined && !known.some((process) => process.pid === pid)) known.push({ name, pid, started })
  }
  const temporary = `${file}.${process.pid}`
  writeFileSync(temporary, JSON.stringify(known), { mode: 0o600 })
  renameSync(temporary, file)
}

/** Records those of the supervisor's processes that run now. */
export function recordRunning(file: string, states: { name: string; pid: number; is_running: boolean }[]): void {
  recordPids(
    file,
    states.filter(({ pid, is_running }) => is_running && pid > 0),
  )
}

/** Records this process as the one that will stop the shop. */
export function takeOwnership(file: string): void {
  rmSync(file, { force: true })
  recordPids(file, [{ name: 'starter', pid: process.pid }])
}

/** Lets the shop outlive its starter. */
export function disown(file: string): void {
  rmSync(file, { force: true })
}

/** Returns whether the process that was to stop the shop has ended without doing so. */
export function isAbandoned(file: string): boolean {
  const owners = readPids(file)
  return owners.length > 0 && stillAlive(owners).length === 0
}

/**
 * Returns those of a record that still run; a pid that now belongs to another process does not
 * count.
 */
export function stillAlive(recorded: RecordedProcess[], alive: typeof isAlive = isAlive): RecordedProcess[] {
  return recorded.filter(({ pid, started }) => alive(pid, started))
}

/**
 * Returns every process of this shop that runs: those in the record, and, as a process may have
 * been restarted since, those with the mark in their environment that all of them carry.
 */
export function findLeftovers(paths: Paths): RecordedProcess[] {
  const found = stillAlive(readPids(paths.pids))
  for (const pid of markedProcesses(paths)) {
    const started = startTime(pid)
    if (started !== undefined && !found.some((process) => process.pid === pid))
      found.push({ name: commandOf(pid), pid, started })
  }
  return found
}

/** The variable that marks every process of a shop; its value is the shop's state folder. */
export const markVariable = 'SIDECART_STATE'

function markedProcesses(paths: Paths): number[] {
  // Other systems do not show another process's environment: there only the record counts.
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
 * Ends what is left of a shop: first the supervisor, which would restart the others; then what uses
 * the servers, since a sidecar that cannot leave its consumer group delays that group's next start
 * by half a minute; then the servers. Each gets SIGTERM and, if it does not end, SIGKILL.
 * @returns what was ended
 * @throws Error when a process survives SIGKILL
 */
export async function endLeftovers(paths: Paths): Promise<RecordedProcess[]> {
  const ended: RecordedProcess[] = []
  const supervisors = findLeftovers(paths).filter(({ name }) => name === 'supervisor' || name === 'process-compose')
  for (const supervisor of supervisors) signal(supervisor, 'SIGKILL')
  await poll('the supervisor ends', () => stillAlive(supervisors).length === 0, { timeoutMs: 5_000, intervalMs: 50 })
  ended.push(...supervisors)

  const isServer = ({ name }: RecordedProcess) => servers.test(name)
  const others = findLeftovers(paths)
  await terminate(
    others.filter((process) => !isServer(process)),
    12_000,
  )
  await terminate(others.filter(isServer), 20_000)
  for (const stubborn of findLeftovers(paths)) signal(stubborn, 'SIGKILL')
  await poll('the killed processes end', () => findLeftovers(paths).length === 0, { timeoutMs: 10_000, intervalMs: 50 })
  return [...ended, ...others]
}

/** By name in the record, or by program. */
const servers = /^(mongodb|mysql|kafka|mongod|secantusd-rs|mysqld|mariadbd|java)$/

async function terminate(processes: RecordedProcess[], timeoutMs: number): Promise<void> {
  for (const process of processes) signal(process, 'SIGTERM')
  await poll('the processes end', () => stillAlive(processes).length === 0, { timeoutMs, intervalMs: 50 }).catch(
    () => {},
  )
}

function signal({ pid, started }: RecordedProcess, name: NodeJS.Signals): void {
  if (!isAlive(pid, started)) return
  try {
    process.kill(pid, name)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}
