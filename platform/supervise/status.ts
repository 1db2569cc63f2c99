// What runs, for people and for programs.
import { join } from 'node:path'
import { buildLog } from '../parts/ensure.ts'
import { residentBytes } from '../process-info.ts'
import type { Paths } from '../processes/paths.ts'
import type { Kind } from '../processes/process.ts'
import { jaegerBuildName } from '../processes/processes.ts'
import { described } from './description.ts'
import { recordRunning } from './leftovers.ts'
import { processStates, type ProcessState } from './supervisor.ts'

export type Status = {
  name: string
  kind: Exclude<Kind, 'task'>
  /** 0 while it does not run. */
  pid: number
  state: State
  /** How often the supervisor has restarted it. */
  restarts: number
  ports: number[]
  rssBytes: number
  /** Path of its log; while it is being built, of the build's. */
  log: string
}

export type State =
  | 'healthy'
  | 'unhealthy'
  | 'starting'
  | 'restarting'
  | 'waiting'
  | 'stopping'
  | 'stopped'
  | 'building'
  | 'not built'

/**
 * Returns every process of a running shop, in the order of their description. @throws Error when
 * the shop does not run
 */
export async function statuses(paths: Paths): Promise<Status[]> {
  const states = await processStates(paths)
  recordRunning(paths.pids, states)
  return described(paths).flatMap(({ name, kind, ports }) => {
    const found = states.find((state) => state.name === name)
    if (found === undefined || kind === 'task') return []
    const pid = found.is_running ? found.pid : 0
    const state = found.status === 'Disabled' ? buildState(states) : stateOf(found)
    const isBuilt = state !== 'building' && state !== 'not built'
    return [
      {
        name,
        kind,
        pid,
        state,
        restarts: found.restarts,
        ports,
        rssBytes: pid ? residentBytes(pid) : 0,
        log: isBuilt ? join(paths.logs, `${name}.log`) : buildLog('jaeger'),
      },
    ]
  })
}

/** Jaeger is the one process that may be disabled: until it is built. */
export function buildState(states: Pick<ProcessState, 'name' | 'status'>[]): 'building' | 'not built' {
  const build = states.find(({ name }) => name === jaegerBuildName)
  return build === undefined || build.status === 'Completed' || build.status === 'Error' ? 'not built' : 'building'
}

/**
 * Translates the supervisor's words. A running process whose probe has not succeeded yet, or no
 * longer does, is not healthy.
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
