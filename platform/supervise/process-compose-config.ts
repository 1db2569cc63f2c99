// Renders the description of the processes for the supervisor, process-compose.
import { constants } from 'node:os'
import { join } from 'node:path'
import { stringify } from 'yaml'
import type { Health, Process } from '../processes/process.ts'

/**
 * Returns the supervisor's configuration. It holds secrets (the processes' environment): keep it
 * private.
 * @param logs folder for one log file per process
 */
export function renderSupervisorConfig(processes: Process[], logs: string): string {
  const names = new Set(processes.map(({ name }) => name))
  const entries = processes.map((process) => [process.name, renderProcess(process, logs, names)])
  return stringify(
    {
      version: '0.5',
      // A password or a PEM may contain a dollar sign; nothing here is meant to be expanded.
      disable_env_expansion: true,
      // Sidecars end before their components, components before their databases.
      ordered_shutdown: true,
      log_level: 'info',
      processes: Object.fromEntries(entries),
    },
    { lineWidth: 0 },
  )
}

function renderProcess(process: Process, logs: string, names: Set<string>) {
  const conditions = [
    // The stop order follows from dependencies alone. This one is met as soon as the other is
    // started, and ignored while it is disabled.
    ...process.stopsBefore.map((name) => [name, { condition: 'process_started' }] as const),
    ...(process.waitsFor.healthy ?? []).map((name) => [name, { condition: 'process_healthy' }] as const),
    ...(process.waitsFor.done ?? []).map((name) => [name, { condition: 'process_completed_successfully' }] as const),
    // A server that is used by its address is no process, so nothing can wait for it.
  ].filter(([name]) => names.has(name))
  return {
    namespace: process.kind,
    entrypoint: process.command,
    working_dir: process.cwd,
    environment: Object.entries(process.env).map(([name, value]) => `${name}=${value}`),
    log_location: join(logs, `${process.name}.log`),
    log_configuration: {
      rotation: { max_size_mb: 20, max_backups: 2 },
      // The processes' own lines, unchanged.
      no_metadata: true,
      disable_json: true,
      fields_order: ['message'],
      no_color: true,
      flush_each_line: true,
    },
    availability: renderRestarts(process),
    shutdown: { signal: constants.signals[process.stopSignal ?? 'SIGTERM'], timeout_seconds: process.stopSeconds },
    ...(process.startsLater ? { disabled: true } : {}),
    ...(process.health ? { readiness_probe: renderProbe(process.health) } : {}),
    ...(conditions.length > 0 ? { depends_on: Object.fromEntries(conditions) } : {}),
  }
}

function renderRestarts({ kind, runsOnce }: Process) {
  if (runsOnce) return { restart: 'no' }
  if (kind === 'task') return { restart: 'on_failure', backoff_seconds: 1, max_restarts: 3 }
  return { restart: 'always', backoff_seconds: 1 }
}

/**
 * The supervisor kills a process whose probe has failed this often; an outage of a database must
 * not kill what uses it.
 */
const never = 1_000_000_000

function renderProbe(health: Health) {
  const rhythm = {
    initial_delay_seconds: 0,
    period_seconds: 1,
    timeout_seconds: 2,
    success_threshold: 1,
    failure_threshold: never,
  }
  if ('http' in health) {
    const { port, path, status } = health.http
    return { ...rhythm, http_get: { host: '127.0.0.1', scheme: 'http', port: String(port), path, status_code: status } }
  }
  // Built into bash, so no other program is needed. It forks each time, so it runs less often.
  return { ...rhythm, period_seconds: 2, exec: { command: `exec 3<>/dev/tcp/127.0.0.1/${health.tcp}` } }
}
