// The files by which Tilt runs a shop: one for each process, with its environment, which serve.sh
// reads. They are private, since they hold secrets.
import { join } from 'node:path'
import type { Paths } from '../processes/paths.ts'
import type { Process } from '../processes/process.ts'
import { writePrivate } from '../processes/secrets.ts'
import { bareEnvironment } from './process-compose.ts'

/** Folder with what serve.sh notes about each process, and what the files here are for. */
export const tiltFolder = (paths: Paths) => join(paths.state, 'tilt')

/** Writes a process's file. @returns the command for Tilt, which holds no secret */
export function writeTiltFile(process: Process, processes: Process[], paths: Paths): string[] {
  const file = join(paths.generated, 'tilt', `${process.name}.sh`)
  writePrivate(file, renderTiltFile(process, processes, paths))
  return ['bash', file]
}

/** Returns the text of a process's file, for bash. */
export function renderTiltFile(process: Process, processes: Process[], paths: Paths): string {
  const stopsAfter = processes
    .filter(({ stopsBefore, waitsFor }) => [...stopsBefore, ...(waitsFor.healthy ?? [])].includes(process.name))
    .map(({ name }) => name)
  const environment = Object.entries(bareEnvironment(paths)).map(([name, value]) => quoted(`${name}=${value}`))
  const runner = join(paths.root, 'platform', 'supervise', process.kind === 'task' ? 'task.sh' : 'serve.sh')
  return [
    // It starts itself again: with an environment of its own, and read by what runs it.
    `if [ -z "\${SERVING-}" ]; then exec env -i ${environment.join(' ')} bash ${quoted(runner)} "$0"; fi`,
    ...Object.entries(process.env).map(([name, value]) => `export ${name}=${quoted(value)}`),
    `name=${quoted(process.name)}`,
    `command=(${process.command.map(quoted).join(' ')})`,
    `cwd=${quoted(process.cwd)}`,
    `log=${quoted(join(paths.logs, `${process.name}.log`))}`,
    `state=${quoted(tiltFolder(paths))}`,
    `stop_signal=${(process.stopSignal ?? 'SIGTERM').slice('SIG'.length)}`,
    `stop_seconds=${process.stopSeconds}`,
    // An edit restarts services and components: they should not wait long for signals to others.
    `settle_seconds=${process.kind === 'server' ? 0.3 : 0.1}`,
    `stops_after=${quoted(stopsAfter.join(' '))}`,
    '',
  ].join('\n')
}

const quoted = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`
