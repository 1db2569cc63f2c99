// What the operating system knows about a process: its start time (a pid alone may belong to
// another process by now) and its memory.
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'

/**
 * Returns what identifies a process together with its pid: on Linux its start time in clock ticks
 * since boot (field 22 of /proc/<pid>/stat), elsewhere `ps`'s start time. Undefined when there is
 * no such process; a zombie does not count.
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
 * Returns the start time in the text of /proc/<pid>/stat. The name in parentheses may itself
 * contain spaces and parentheses.
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

/** Returns the resident memory in bytes, 0 when the process has ended. */
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
