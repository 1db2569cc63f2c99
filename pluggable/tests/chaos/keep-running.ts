import { appendFileSync } from 'node:fs'
import { startChild, type Child } from '../../../platform/child.ts'

export type KeptRunning = {
  /** 0 while it is being restarted. */
  pid: () => number
  starts: () => number
  /** Ends it for good: SIGTERM, and SIGKILL after 5 s. */
  close: () => Promise<void>
}

/**
 * Keeps a program running as a supervisor does: restarts it whenever it ends, however it ended.
 * @param options.log file that takes its output
 * @param options.printed takes its standard output instead
 */
export function keepRunning(
  { file, args, env }: { file: string; args: string[]; env: NodeJS.ProcessEnv },
  { log, printed }: { log: string; printed?: (text: string) => void },
): KeptRunning {
  let child: Child
  let starts = 0
  let closing = false

  function start(): void {
    starts += 1
    child = startChild(file, args, {
      env,
      onOutput: (text, stream) => (printed && stream === 'stdout' ? printed(text) : appendFileSync(log, text)),
    })
    // A program that cannot run at all must not take a whole core.
    void child.ended.then(() => setTimeout(() => !closing && start(), 100))
  }
  start()

  return {
    pid: () => (child.end() ? 0 : child.pid),
    starts: () => starts,
    async close() {
      closing = true
      await child.kill('SIGTERM', 5_000)
    },
  }
}
