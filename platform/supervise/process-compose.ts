// Starts the supervisor, process-compose, and calls its REST API on a Unix socket in a private
// folder.
import { spawn } from 'node:child_process'
import { closeSync, mkdirSync, openSync } from 'node:fs'
import { request } from 'node:http'
import { dirname } from 'node:path'
import { z } from 'zod'
import { markVariable } from './leftovers.ts'
import type { Paths } from '../processes/paths.ts'

const processState = z.object({
  name: z.string(),
  namespace: z.string(),
  status: z.string(),
  is_ready: z.string(),
  has_ready_probe: z.boolean(),
  restarts: z.number(),
  exit_code: z.number(),
  pid: z.number(),
  is_running: z.boolean(),
})

export type ProcessState = z.infer<typeof processState>

const statesResponse = z.object({ data: z.array(processState).nullable() })

/**
 * Starts the supervisor in a separate session: neither Ctrl-C in the terminal nor the end of the
 * starter reaches it or what it runs.
 * @returns its pid
 */
export function startSupervisor(binary: string, paths: Paths): number {
  mkdirSync(dirname(paths.supervisorSocket), { recursive: true, mode: 0o700 })
  // Its standard output repeats every process's log; only its own errors are kept.
  const log = openSync(paths.supervisorErrors, 'a', 0o600)
  const child = spawn(
    binary,
    [
      '--use-uds',
      '--unix-socket',
      paths.supervisorSocket,
      '--log-file',
      paths.supervisorLog,
      '--disable-dotenv',
      '--ordered-shutdown',
      '--keep-project',
      '--tui=false',
      '--config',
      paths.supervisorConfig,
      'up',
    ],
    // The processes inherit this environment. It holds only what every program needs: no service
    // should find a database's address that the starter's shell happened to have.
    { cwd: paths.state, detached: true, stdio: ['ignore', 'ignore', log], env: bareEnvironment(paths) },
  )
  closeSync(log)
  child.unref()
  if (child.pid === undefined) throw new Error(`${binary} could not be started`)
  return child.pid
}

/** What every process of a shop inherits. It holds no secret. */
export function bareEnvironment(paths: Paths): NodeJS.ProcessEnv {
  const kept = [
    'PATH',
    'HOME',
    'USER',
    'LANG',
    'LC_ALL',
    'TZ',
    'TMPDIR',
    'JAVA_HOME',
    'SSL_CERT_FILE',
    'NODE_EXTRA_CA_CERTS',
  ]
  return {
    ...Object.fromEntries(kept.flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name]]]))),
    [markVariable]: paths.state,
    COMPOSE_SHELL: 'bash',
    // Where it looks for its theme and settings, instead of in the home directory.
    PROC_COMP_CONFIG: paths.generated,
  }
}

/** Returns the supervisor's view of each process. @throws Error when it does not respond */
export async function processStates(paths: Paths): Promise<ProcessState[]> {
  return statesResponse.parse(await call(paths, 'GET', '/processes')).data ?? []
}

/** Stops all processes in order, then the supervisor itself; resolves when all have ended. */
export async function stopProject(paths: Paths): Promise<void> {
  await call(paths, 'POST', '/project/stop', 120_000)
}

export async function stopProcess(paths: Paths, name: string): Promise<void> {
  await call(paths, 'PATCH', `/process/stop/${name}`, 60_000)
}

export async function startProcess(paths: Paths, name: string): Promise<void> {
  await call(paths, 'POST', `/process/start/${name}`)
}

function call(paths: Paths, method: string, path: string, timeout = 5_000): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const outgoing = request({ socketPath: paths.supervisorSocket, method, path, timeout }, (response) => {
      let text = ''
      response.setEncoding('utf8')
      response.on('data', (chunk: string) => (text += chunk))
      response.on('end', () => {
        const body: unknown = text === '' ? undefined : JSON.parse(text)
        if (response.statusCode === 200) resolve(body)
        else reject(new Error(`the supervisor returned ${response.statusCode} for ${method} ${path}: ${text}`))
      })
      response.on('error', reject)
    })
    outgoing.on('timeout', () => outgoing.destroy(new Error(`the supervisor did not respond to ${method} ${path}`)))
    outgoing.on('error', reject)
    outgoing.end()
  })
}
