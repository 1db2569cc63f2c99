import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createWriteStream } from 'node:fs'

export type KeptRunning = {
  /** 0 for the moment in which it is being started again. */
  pid: () => number
  starts: () => number
  /** Ends it for good: asked to, and killed when it does not within 5 s. */
  close: () => Promise<void>
}

/**
 * Keeps a program running as a supervisor does: it is started again whenever it ends, however it
 * ended.
 * @param o.log file that takes what it prints
 * @param o.printed takes what it prints on its standard output instead
 */
export function keepRunning(
  command: { file: string; args: string[]; env: NodeJS.ProcessEnv },
  o: { log: string; printed?: (text: string) => void },
): KeptRunning {
  const log = createWriteStream(o.log, { flags: 'a' })
  let child: ChildProcess | undefined
  let starts = 0
  let closing = false

  function start(): void {
    starts += 1
    const started = spawn(command.file, command.args, { env: command.env, stdio: ['ignore', 'pipe', 'pipe'] })
    child = started
    const { printed } = o
    if (printed) started.stdout.on('data', (chunk: Buffer) => printed(chunk.toString()))
    else started.stdout.pipe(log, { end: false })
    started.stderr.pipe(log, { end: false })
    started.once('exit', () => {
      child = undefined
      // What cannot run at all must not take a whole core.
      if (!closing) setTimeout(() => !closing && start(), 100)
    })
  }
  const kill = () => child?.kill('SIGKILL')
  process.once('exit', kill)
  start()

  return {
    pid: () => child?.pid ?? 0,
    starts: () => starts,
    async close() {
      closing = true
      process.off('exit', kill)
      const last = child
      if (last) {
        const ended = once(last, 'exit')
        last.kill('SIGTERM')
        const timer = setTimeout(() => last.kill('SIGKILL'), 5_000)
        await ended
        clearTimeout(timer)
      }
      log.end()
    },
  }
}
