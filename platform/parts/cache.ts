// The folder outside the clone that holds built and unpacked servers, by version. A part is either
// complete or absent: it is made in a temporary folder and renamed when it is complete.
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
 * Makes `folder` unless it exists. Two makers at once are safe, also from different clones: one
 * makes it, the other waits and then finds it. A maker that was killed leaves a lock whose process
 * is gone and an unfinished folder under another name; both are removed here.
 * @param make fills the empty folder that it is given
 * @param onWait called once, with the other maker's pid, if there is one
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
 * Takes a lock file, and waits as long as a living process holds it, for up to an hour.
 * @returns the function that releases it
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
  // Written first, then linked: whoever sees the lock sees its holder.
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

/** A lock is stale when its process has ended, even if another process has its pid now. */
export function isStale(holder: Holder, alive: typeof isAlive = isAlive): boolean {
  return !alive(holder.pid, holder.started)
}

function clearIfStale(file: string): void {
  const holder = holderOf(file)
  if (holder === undefined || !isStale(holder)) return
  // Another process may have removed it and locked since it was read: move it aside first, then
  // check what was moved.
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
      // A third process holds it by now. The owner of this lock makes the same part under another
      // name, which is harmless.
    }
  }
  rmSync(aside, { force: true })
}
