// What supervises a shop: process-compose, or Tilt.
import type { Paths } from '../processes/paths.ts'
import * as processCompose from './process-compose.ts'
import { findTilt, startInTilt, stopInTilt, tiltStates } from './tilt.ts'

export type { ProcessState } from './process-compose.ts'

/** Returns the supervisor's view of each process. @throws Error when it does not respond */
export async function processStates(paths: Paths): Promise<processCompose.ProcessState[]> {
  return findTilt(paths) === undefined ? processCompose.processStates(paths) : tiltStates(paths)
}

/** Stops a process until it is started again. */
export async function stopProcess(paths: Paths, name: string): Promise<void> {
  const tilt = findTilt(paths)
  await (tilt === undefined ? processCompose.stopProcess(paths, name) : stopInTilt(tilt, name))
}

export async function startProcess(paths: Paths, name: string): Promise<void> {
  const tilt = findTilt(paths)
  await (tilt === undefined ? processCompose.startProcess(paths, name) : startInTilt(tilt, name))
}
