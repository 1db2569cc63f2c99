// What the operating system knows about a process: when it started (a pid alone may have been given
// to another process since), its memory, its group.
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'

/**
 * A mark that, together with the pid, names one process for good: the start time in clock ticks
 * since boot on Linux (field 22 of /proc/<pid>/stat), `ps`'s start time elsewhere. Undefined when
 * there is no such process (a zombie has ended and counts as none).
 */
export function startTime(pid: number): string | undefined {
  if (process.platform === 'linux') {
    try {
      return parseStat(readFileSync(`/proc/${pid}/stat`, 'utf8'))
    } catch {
      return undefined
    }
  }
  try {
    return execFileSync('ps', ['-o', 'lstart=', '-p', String(pid)], { encoding: 'utf8' }).trim() || undefined
  } catch {
    return undefined
  }
}

/**
 * The start time in the text of /proc/<pid>/stat. The name in parentheses may itself hold spaces
 * and parentheses.
 */
export function parseStat(stat: string): string | undefined {
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const [state] = fields
  return state === 'Z' || state === 'X' ? undefined : fields[19]
}

export function isAlive(pid: number, started?: string): boolean {
  const now = startTime(pid)
  return now !== undefined && (started === undefined || now === started)
}

/** Resident memory in bytes, 0 when the process is gone. */
export function residentBytes(pid: number): number {
  try {
    if (process.platform === 'linux') {
      const kb = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
      return Number(kb ?? 0) * 1024
    }
    return Number(execFileSync('ps', ['-o', 'rss=', '-p', String(pid)], { encoding: 'utf8' }).trim()) * 1024
  } catch {
    return 0
  }
}
