// Programs that this process starts: their output is kept, and none of them outlives it.
import { spawn } from 'node:child_process'
import { createWriteStream } from 'node:fs'
import { poll } from './poll.ts'

export type ChildOptions = {
  /** Its whole environment; this process's own unless given. */
  env?: NodeJS.ProcessEnv
  cwd?: string
  /** Another user to run as; only root may. */
  uid?: number
  gid?: number
  /** A file to append its output to. */
  log?: string
  /** Takes its output as it comes. */
  onOutput?: (text: string, stream: 'stdout' | 'stderr') => void
}

export type ChildEnd = { code: number | null; signal: NodeJS.Signals | null }

export type Child = {
  /** 0 when it could not be started. */
  pid: number
  /** How it ended; undefined while it runs. */
  end: () => ChildEnd | undefined
  /** Resolves when it has ended and all of its output has been read. Never rejects. */
  ended: Promise<ChildEnd>
  /** The last 8,000 characters of its output, for error messages. */
  tail: () => string
  /**
   * Sends `signal` (SIGTERM), and SIGKILL if it still runs after `deadlineMs` (10,000). Resolves
   * when it has ended, at once if it already has.
   */
  kill: (signal?: NodeJS.Signals, deadlineMs?: number) => Promise<ChildEnd>
  /**
   * Polls until `check` returns something other than undefined or false.
   * @throws Error with `what` and the tail of the output when the child ends first or `timeoutMs`
   * (30,000) passes; the child is killed then
   */
  ready: <T>(
    what: string,
    check: () => Promise<T | undefined | false> | T | undefined | false,
    timeoutMs?: number,
  ) => Promise<T>
}

const tailLength = 8_000

const running = new Set<() => void>()
process.on('exit', () => {
  for (const kill of running) kill()
})

/**
 * Starts a program without an input. It is killed when this process exits. A program that cannot be
 * started counts as ended, with the reason as its output.
 */
export function startChild(file: string, args: string[], options: ChildOptions = {}): Child {
  const { log, onOutput, ...rest } = options
  const child = spawn(file, args, { ...rest, stdio: ['ignore', 'pipe', 'pipe'] })
  const sink = log === undefined ? undefined : createWriteStream(log, { flags: 'a' })
  let tail = ''
  let end: ChildEnd | undefined

  const take = (text: string, stream: 'stdout' | 'stderr') => {
    tail = (tail + text).slice(-tailLength)
    sink?.write(text)
    onOutput?.(text, stream)
  }
  for (const stream of ['stdout', 'stderr'] as const) {
    child[stream].setEncoding('utf8').on('data', (text: string) => take(text, stream))
  }

  const forceKill = () => void child.kill('SIGKILL')
  running.add(forceKill)
  const { promise: ended, resolve } = Promise.withResolvers<ChildEnd>()
  child.once('error', (error) => take(`${error.message}\n`, 'stderr'))
  child.once('exit', (code, signal) => {
    end = { code, signal }
    running.delete(forceKill)
  })
  child.once('close', (code, signal) => {
    end = { code, signal }
    running.delete(forceKill)
    if (sink) sink.end(() => resolve(end!))
    else resolve(end)
  })

  async function kill(signal: NodeJS.Signals = 'SIGTERM', deadlineMs = 10_000): Promise<ChildEnd> {
    if (end) return ended
    child.kill(signal)
    const timer = setTimeout(forceKill, deadlineMs)
    return ended.finally(() => clearTimeout(timer))
  }

  return {
    pid: child.pid ?? 0,
    end: () => end,
    ended,
    tail: () => tail,
    kill,
    async ready(what, check, timeoutMs = 30_000) {
      const attempt = () => {
        if (end) throw new Error(`ended with ${end.signal ?? `code ${end.code}`}`)
        return check()
      }
      try {
        return await poll(what, attempt, { timeoutMs, intervalMs: 50, isFatal: () => end !== undefined })
      } catch (error) {
        await kill('SIGKILL')
        const { message } = error as Error
        throw new Error(`${message.startsWith(what) ? '' : `${what}: `}${message}\n${tail}`, { cause: error })
      }
    },
  }
}
