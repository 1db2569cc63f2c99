// The folder outside the clone in which built and unpacked servers are kept, by version. A part is
// there completely or not at all: it is made in a folder of its own beside its place and renamed
// into it when it is complete.
import { linkSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, existsSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { isAlive, startTime } from '../process-info.ts'
import { poll } from '../poll.ts'

export function cacheFolder(env: NodeJS.ProcessEnv = process.env): string {
  return join(env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'sidecart')
}

type Holder = { pid: number; started: string }

/**
 * Makes `folder` by `make` unless it is there. Two makers at once (also in different clones) are
 * safe: one makes, the other waits and then finds it. A maker that was cut off leaves a lock whose
 * process is gone, and a half-made folder under another name; both are cleared away here.
 * @param make fills the empty folder that it is given
 * @param onWait is told once that somebody else is making it
 */
export async function makeOnce(
  folder: string,
  make: (emptyFolder: string) => Promise<void>,
  onWait: (holder: number) => void = () => {},
): Promise<void> {
  if (existsSync(folder)) return
  mkdirSync(dirname(folder), { recursive: true })
  const release = await lock(`${folder}.lock`, onWait)
  try {
    if (existsSync(folder)) return
    const prefix = `.${basename(folder)}.making-`
    for (const name of readdirSync(dirname(folder))) {
      if (name.startsWith(prefix)) rmSync(join(dirname(folder), name), { recursive: true, force: true })
    }
    const temporary = join(dirname(folder), `${prefix}${process.pid}`)
    mkdirSync(temporary)
    try {
      await make(temporary)
      renameSync(temporary, folder)
    } finally {
      rmSync(temporary, { recursive: true, force: true })
    }
  } finally {
    release()
  }
}

/**
 * Takes a lock file, waiting as long as a living process holds it.
 * @returns the function that gives it back
 */
export async function lock(file: string, onWait: (holder: number) => void = () => {}): Promise<() => void> {
  let waiting = false
  await poll(
    `lock ${file}`,
    () => {
      if (tryLock(file)) return true
      const holder = holderOf(file)
      if (holder !== undefined && !waiting) {
        waiting = true
        onWait(holder.pid)
      }
      return false
    },
    { timeoutMs: 3_600_000, intervalMs: 250 },
  )
  return () => rmSync(file, { force: true })
}

function tryLock(file: string): boolean {
  // Written first and then linked: whoever sees the lock sees its holder.
  const mine = `${file}.${process.pid}`
  writeFileSync(mine, JSON.stringify({ pid: process.pid, started: startTime(process.pid) ?? '' } satisfies Holder))
  try {
    linkSync(mine, file)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    clearIfStale(file)
    return false
  } finally {
    rmSync(mine, { force: true })
  }
}

function holderOf(file: string): Holder | undefined {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as Holder
  } catch {
    return undefined
  }
}

/** A lock is stale when its process has ended, also when its pid was given to another one since. */
export function isStale(holder: Holder, alive: typeof isAlive = isAlive): boolean {
  return !alive(holder.pid, holder.started)
}

function clearIfStale(file: string): void {
  const holder = holderOf(file)
  if (holder === undefined || !isStale(holder)) return
  // Somebody else may have cleared it and locked since it was read: take it aside first and look at
  // what was taken.
  const aside = `${file}.stale-${process.pid}`
  try {
    renameSync(file, aside)
  } catch {
    return
  }
  const taken = holderOf(aside)
  if (taken !== undefined && !isStale(taken)) {
    try {
      linkSync(aside, file)
    } catch {
      // A third one holds it by now; the one whose lock this was makes the same thing under another
      // name.
    }
  }
  rmSync(aside, { force: true })
}
