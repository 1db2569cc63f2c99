// A shop that Tilt runs: whose it is, and what its processes do. Tilt has no pids of what serve.sh
// runs: they come from there, and health from the processes themselves.
import { execFile } from 'node:child_process'
import { mkdirSync, readFileSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Paths } from '../processes/paths.ts'
import type { Health } from '../processes/process.ts'
import { writePrivate } from '../processes/secrets.ts'
import { poll } from '../poll.ts'
import { isAlive } from '../process-info.ts'
import { readPids, recordPids, stillAlive } from './leftovers.ts'
import type { ProcessState } from './process-compose.ts'
import { described } from './description.ts'
import { tiltFolder } from './tilt-files.ts'

/** A Tilt that runs: its program, and the port of its API. */
export type Tilt = { pid: number; program: string; port: string }

const tiltFile = (paths: Paths) => join(paths.state, 'tilt.json')

/** Returns the Tilt that runs a shop, or undefined when none does. */
export function findTilt(paths: Paths): Tilt | undefined {
  const [owner] = stillAlive(readPids(paths.owner))
  if (owner?.name !== 'tilt') return undefined
  return JSON.parse(readFileSync(tiltFile(paths), 'utf8')) as Tilt
}

/** Records a Tilt as the one that runs a shop, and empties the folder of its processes' notes. */
export function recordTilt(paths: Paths, tilt: Tilt): void {
  rmSync(tiltFolder(paths), { recursive: true, force: true })
  mkdirSync(tiltFolder(paths), { recursive: true, mode: 0o700 })
  writePrivate(tiltFile(paths), JSON.stringify(tilt))
  rmSync(paths.owner, { force: true })
  recordPids(paths.owner, [{ name: 'tilt', pid: tilt.pid }])
}

/** Returns the processes' states, in the words of process-compose. Tasks are Tilt's matter. */
export function tiltStates(paths: Paths): Promise<ProcessState[]> {
  return Promise.all(
    described(paths)
      .filter(({ kind }) => kind !== 'task')
      .map(async ({ name, kind, health }) => {
        const { pid, restarts } = noted(paths, name)
        const runs = pid !== 0
        return {
          name,
          namespace: kind,
          status: runs ? 'Running' : 'Pending',
          is_ready: runs && (health === undefined || (await isHealthy(health))) ? 'Ready' : 'Not Ready',
          has_ready_probe: health !== undefined,
          restarts,
          exit_code: 0,
          pid,
          is_running: runs,
        }
      }),
  )
}

/** What serve.sh has noted: pid 0 while the process does not run. */
function noted(paths: Paths, name: string): { pid: number; restarts: number } {
  try {
    const [pid = 0, restarts = 0] = readFileSync(join(tiltFolder(paths), `${name}.pid`), 'utf8')
      .trim()
      .split(' ')
      .map(Number)
    return { pid: isAlive(pid) ? pid : 0, restarts }
  } catch {
    return { pid: 0, restarts: 0 }
  }
}

async function isHealthy(health: Health): Promise<boolean> {
  if ('http' in health) {
    const { port, path, status } = health.http
    try {
      const response = await fetch(`http://127.0.0.1:${port}${path}`, { signal: AbortSignal.timeout(2_000) })
      await response.body?.cancel()
      return response.status === status
    } catch {
      return false
    }
  }
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port: health.tcp, timeout: 2_000 })
    const end = (healthy: boolean) => {
      socket.destroy()
      resolve(healthy)
    }
    socket.once('connect', () => end(true))
    socket.once('error', () => end(false))
    socket.once('timeout', () => end(false))
  })
}

/** Stops processes, which Tilt then shows as disabled, until they are started. */
export async function stopInTilt(tilt: Tilt, ...names: string[]): Promise<void> {
  await callTilt(tilt, ['disable', ...names])
}

export async function startInTilt(tilt: Tilt, ...names: string[]): Promise<void> {
  await callTilt(tilt, ['enable', ...names])
}

/** Runs a task again and waits until it has ended. @throws Error when it fails */
export async function triggerInTilt(tilt: Tilt, name: string): Promise<void> {
  const finished = async () => {
    const resource = JSON.parse(await callTilt(tilt, ['get', 'uiresource', name, '-o', 'json'])) as UiResource
    return resource.status.buildHistory?.[0]
  }
  const before = (await finished())?.finishTime
  await callTilt(tilt, ['trigger', name])
  const { error } = await poll(`Tilt runs ${name}`, async () => {
    const last = await finished()
    return last !== undefined && last.finishTime !== before && last
  })
  if (error) throw new Error(`${name} failed: ${error}`)
}

type UiResource = { status: { buildHistory?: { finishTime: string; error?: string }[] } }

async function callTilt({ program, port }: Tilt, args: string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(program, [...args, '--port', port], { timeout: 60_000 })
  return stdout
}
