// Whether a shop runs, and whether its processes are healthy, as the supervisor sees them.
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { poll } from '../poll.ts'
import type { Paths } from '../processes/paths.ts'
import { jaegerBuildName } from '../processes/processes.ts'
import { recordRunning } from '../supervise/leftovers.ts'
import { processStates, type ProcessState } from '../supervise/supervisor.ts'
import { findTilt } from '../supervise/tilt.ts'

/** Returns whether the shop's supervisor runs, whatever the state of its processes. */
export async function isRunning(paths: Paths): Promise<boolean> {
  if (findTilt(paths) !== undefined) return true
  return (
    existsSync(paths.supervisorSocket) &&
    processStates(paths).then(
      () => true,
      () => false,
    )
  )
}

const startMs = 300_000

/**
 * Waits until every process is healthy and every task done, and records each pid as it appears. A
 * Jaeger that is still being built is not waited for.
 * @param note called with the names of those that are waited for, as they change
 * @throws Error with the end of its log when a process fails; Error when it takes over 5 minutes
 */
export async function untilReady(paths: Paths, note: (text: string) => void = () => {}): Promise<void> {
  let waitingFor = ''
  const allReady = async () => {
    const states = await processStates(paths).catch(undefinedWhileAbsent)
    if (states === undefined || states.length === 0) return false
    recordRunning(paths.pids, states)
    const needed = states.filter(({ name, status }) => name !== jaegerBuildName && status !== 'Disabled')
    const failed = needed.find(hasFailed)
    if (failed) throw new ProcessFailure(describeFailure(failed, paths))
    const names = needed
      .filter((state) => !isReady(state))
      .map(({ name }) => name)
      .join(', ')
    if (names !== '' && names !== waitingFor) note(`waiting for ${names}`)
    waitingFor = names
    return names === ''
  }
  const isFatal = (error: unknown) => error instanceof ProcessFailure
  try {
    await poll('the shop is healthy', allReady, { timeoutMs: startMs, isFatal })
  } catch (error) {
    if (isFatal(error)) throw error
    throw new Error(`not healthy within ${startMs / 1000} s: ${waitingFor}; logs in ${paths.logs}`, { cause: error })
  }
}

class ProcessFailure extends Error {}

/** The supervisor has no socket yet, or does not listen on it yet. */
function undefinedWhileAbsent(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT' && error.code !== 'ECONNREFUSED') throw error
}

export function isReady(state: ProcessState): boolean {
  if (state.namespace === 'task') return state.status === 'Completed' && state.exit_code === 0
  return state.is_running && (!state.has_ready_probe || state.is_ready === 'Ready')
}

/** A task that gave up, or a process that keeps crashing. */
function hasFailed(state: ProcessState): boolean {
  if (state.status === 'Skipped' || state.status === 'Error') return true
  if (state.namespace === 'task') return state.status === 'Completed' && state.exit_code !== 0
  return state.restarts >= 8
}

function describeFailure(state: ProcessState, paths: Paths): string {
  return `${state.name} does not start. ${describeState(state, paths)}`
}

/** Returns what the supervisor knows of a process, and the end of its log. */
export function describeState(state: ProcessState, paths: Paths): string {
  const log = join(paths.logs, `${state.name}.log`)
  const tail = existsSync(log) ? readFileSync(log, 'utf8').trimEnd().split('\n').slice(-15).join('\n') : ''
  const { status, is_ready: health, pid, restarts, exit_code: code } = state
  const facts = `It is ${status}, ${health} (pid ${pid}, restarts: ${restarts}, exit code: ${code}).`
  return `${facts} The end of ${log}:\n${tail}`
}
