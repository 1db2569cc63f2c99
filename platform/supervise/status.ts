// What runs, for people and for programs.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { recordPids } from './leftovers.ts'
import type { Paths } from '../processes/paths.ts'
import { residentBytes } from '../process-info.ts'
import type { Kind, Process } from '../processes/processes.ts'
import { processStates, type ProcessState } from './process-compose.ts'

export type Status = {
  name: string
  kind: Exclude<Kind, 'task'>
  /** 0 while it does not run. */
  pid: number
  state: State
  /** How often it was started again after it had ended by itself. */
  restarts: number
  ports: number[]
  rssBytes: number
}

export type State = 'healthy' | 'unhealthy' | 'starting' | 'restarting' | 'waiting' | 'stopping' | 'stopped'

type Described = Pick<Process, 'name' | 'kind' | 'ports'>

const file = (paths: Paths) => join(paths.generated, 'processes.json')

/** What `statuses` adds to what the supervisor knows; written at each start. */
export function describedProcesses(processes: Process[]): string {
  return JSON.stringify(processes.map(({ name, kind, ports }): Described => ({ name, kind, ports })))
}

export const describedFile = file

/**
 * Every process of a running shop, in the order of their description. @throws Error when the shop
 * does not run
 */
export async function statuses(paths: Paths): Promise<Status[]> {
  const states = await processStates(paths)
  recordPids(
    paths.pids,
    states.filter(({ is_running, pid }) => is_running && pid > 0),
  )
  const described = JSON.parse(readFileSync(file(paths), 'utf8')) as Described[]
  return described.flatMap(({ name, kind, ports }) => {
    const state = states.find((one) => one.name === name)
    if (state === undefined || kind === 'task') return []
    const pid = state.is_running ? state.pid : 0
    return [
      {
        name,
        kind,
        pid,
        state: stateOf(state),
        restarts: state.restarts,
        ports,
        rssBytes: pid ? residentBytes(pid) : 0,
      },
    ]
  })
}

/**
 * The supervisor's words as ours. A process that is up and whose probe has not said yes yet, or no
 * more, is told apart.
 */
export function stateOf({
  status,
  is_ready,
  has_ready_probe,
}: Pick<ProcessState, 'status' | 'is_ready' | 'has_ready_probe'>): State {
  switch (status) {
    case 'Running':
      if (!has_ready_probe || is_ready === 'Ready') return 'healthy'
      return is_ready === 'Not Ready' ? 'unhealthy' : 'starting'
    case 'Pending':
      return 'waiting'
    case 'Launching':
    case 'Launched':
      return 'starting'
    case 'Restarting':
      return 'restarting'
    case 'Terminating':
      return 'stopping'
    default:
      return 'stopped'
  }
}
