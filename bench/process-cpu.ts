// CPU time by process, from /proc. Elsewhere than on Linux nothing is measured.
import { readFileSync } from 'node:fs'

/** Ticks of proc_stat(5), 100 in a second on every Linux that Node runs on. */
const ticksPerSecond = 100

type Named = { name: string; pid: number }

/** Returns the seconds of CPU that a process has used so far; undefined when it cannot be read. */
function cpuSeconds(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond
  } catch {
    return undefined
  }
}

/** nginx and the like do their work in children. */
function withChildren(pid: number): number[] {
  try {
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim()
    return [pid, ...(children === '' ? [] : children.split(' ').flatMap((child) => withChildren(Number(child))))]
  } catch {
    return [pid]
  }
}

/**
 * Measures CPU time by process from now on. The returned function gives the seconds each has used
 * since, highest first; those that have used none are left out.
 */
export function watchCpu(processes: Named[]): () => { name: string; seconds: number }[] {
  const watched = processes.map(({ name, pid }) => ({ name, pids: pid === process.pid ? [pid] : withChildren(pid) }))
  const read = () => watched.map(({ pids }) => pids.map(cpuSeconds))
  const before = read()
  return () => {
    const after = read()
    return watched
      .map(({ name }, i) => ({
        name,
        seconds: after[i]!.reduce<number>((sum, now, j) => sum + (now ?? 0) - (before[i]![j] ?? now ?? 0), 0),
      }))
      .filter(({ seconds }) => seconds > 0)
      .toSorted((a, b) => b.seconds - a.seconds)
  }
}

/**
 * Measures from now on what share of all cores programs use that are not among these. Undefined
 * where the system does not say.
 */
export function watchOthers(processes: Named[]): () => number | undefined {
  const own = watchCpu(processes)
  const before = machineSeconds()
  return () => {
    const after = machineSeconds()
    if (before === undefined || after === undefined) return undefined
    const used = own().reduce((sum, { seconds }) => sum + seconds, 0)
    return Math.max(0, after.busy - before.busy - used) / (after.all - before.all)
  }
}

/** Seconds of all cores since the machine's start, and those in which they worked. */
function machineSeconds(): { busy: number; all: number } | undefined {
  try {
    const line = readFileSync('/proc/stat', 'utf8').split('\n')[0]!
    const ticks = line.split(/\s+/).slice(1, 9).map(Number)
    const [, , , idle = 0, iowait = 0] = ticks
    const all = ticks.reduce((sum, value) => sum + value, 0)
    return { busy: (all - idle - iowait) / ticksPerSecond, all: all / ticksPerSecond }
  } catch {
    return undefined
  }
}
