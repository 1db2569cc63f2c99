import { poll } from '../poll.ts'
import type { Paths } from '../processes/paths.ts'
import { recordRunning } from '../supervise/leftovers.ts'
import { processStates, startProcess, stopProcess } from '../supervise/supervisor.ts'
import { describeState, isReady } from './readiness.ts'

/** One process of a running shop. All of it throws when the shop has no process of that name. */
export type ProcessHandle = {
  /** Returns 0 while it does not run. */
  pid: () => Promise<number>
  /**
   * Sends a signal, as a crash (SIGKILL) or a pause (SIGSTOP, SIGCONT); the supervisor restarts a
   * process that has ended. @throws Error when it does not run
   */
  kill: (signal: NodeJS.Signals) => Promise<void>
  /** Stops it until `start` is called. */
  stop: () => Promise<void>
  /** Starts it and waits until it is healthy. */
  start: () => Promise<void>
  /** Waits until it is healthy, with a pid other than `not` if that is given. */
  ready: (options?: { not?: number; timeoutMs?: number }) => Promise<void>
}

export function processHandle(paths: Paths, name: string): ProcessHandle {
  const currentState = async () => {
    const state = (await processStates(paths)).find((state) => state.name === name)
    if (state === undefined) throw new Error(`no process is named ${name}`)
    return state
  }
  const ready: ProcessHandle['ready'] = async ({ not, timeoutMs = 60_000 } = {}) => {
    const isUp = async () => {
      const state = await currentState()
      if (!isReady(state) || state.pid === not) return false
      recordRunning(paths.pids, [state])
      return true
    }
    await poll(`${name} is healthy`, isUp, { timeoutMs }).catch(async (error: Error) => {
      throw new Error(`${error.message}. ${describeState(await currentState(), paths)}`, { cause: error })
    })
  }
  const pid = async () => {
    const state = await currentState()
    return state.is_running ? state.pid : 0
  }
  return {
    pid,
    ready,
    kill: async (signal) => {
      const running = await pid()
      // Pid 0 would be this process and its whole group.
      if (running === 0) throw new Error(`${name} does not run`)
      process.kill(running, signal)
    },
    stop: async () => {
      await stopProcess(paths, name)
      await poll(`${name} ends`, async () => !(await currentState()).is_running)
    },
    start: async () => {
      await startProcess(paths, name)
      await ready()
    },
  }
}
