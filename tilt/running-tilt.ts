// A real Tilt for the tests: started on a Tiltfile, asked by its command line, ended with the test.
import { execFile } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { startChild, type Child } from '../platform/child.ts'
import { ensureParts } from '../platform/parts/ensure.ts'
import { poll } from '../platform/poll.ts'
import { root } from '../platform/processes/paths.ts'
import { createProgress } from '../platform/progress.ts'
import { freePorts } from '../platform/free-ports.ts'

export type RunningTilt = {
  child: Child
  port: number
  /** All that Tilt has printed. */
  output: () => string
  /** Runs `tilt …` against it. @returns what it prints */
  call: (...args: string[]) => Promise<string>
  /** Returns the state of each resource that has one. */
  resources: () => Promise<Map<string, ResourceState>>
  /** Clicks a button, with texts for its fields. */
  click: (button: string, inputs?: Record<string, string>) => Promise<void>
  /** As Ctrl-C does. Resolves when Tilt has ended. */
  interrupt: () => Promise<void>
}

/** ok, pending, error, not_applicable or none, of the last update and of the process. */
export type ResourceState = { update: string; runtime: string; disabled: boolean; labels: string[] }

/** Returns Tilt's program; builds it first if it is missing. */
export async function tiltProgram(): Promise<string> {
  const progress = createProgress()
  const { tilt } = await ensureParts(['tilt'], progress)
  progress.close()
  if (tilt.from === 'address') throw new Error('Tilt is a program')
  return tilt.path
}

/** Starts Tilt in a folder: `up`, or `ci`. */
export async function startTilt(
  folder: string,
  options: { command?: 'up' | 'ci'; env?: NodeJS.ProcessEnv; args?: string[] } = {},
): Promise<RunningTilt> {
  const program = await tiltProgram()
  const [port = 0] = await freePorts(1)
  const { command = 'up', args = [] } = options
  const env: NodeJS.ProcessEnv = { ...process.env, ...options.env, TILT_DISABLE_ANALYTICS: '1' }
  delete env['TILT_PORT']
  let output = ''
  const child = startChild(
    program,
    [command, ...(command === 'up' ? ['--stream'] : []), '--web-mode', 'prod', '--port', String(port), ...args],
    { cwd: folder, env, onOutput: (text) => (output += text) },
  )

  async function call(...rest: string[]): Promise<string> {
    const all = [...rest, '--port', String(port)]
    const { stdout } = await promisify(execFile)(program, all, { env, maxBuffer: 100_000_000 })
    return stdout
  }

  return {
    child,
    port,
    output: () => output,
    call,
    async resources() {
      const { items } = JSON.parse(await call('get', 'uiresources', '-o', 'json')) as { items: UiResource[] }
      return new Map(
        items.map(({ metadata, status }) => [
          metadata.name,
          {
            update: status.updateStatus ?? '',
            runtime: status.runtimeStatus ?? '',
            disabled: status.disableStatus?.state === 'Disabled',
            labels: Object.keys(metadata.labels ?? {}),
          },
        ]),
      )
    },
    async click(name, inputs = {}) {
      // As the web page does it.
      const path = `/apis/tilt.dev/v1alpha1/uibuttons/${name}`
      const button = JSON.parse(await call('get', 'uibutton', name, '-o', 'json')) as Record<string, unknown>
      const status = {
        lastClickedAt: new Date().toISOString().replace('Z', '000Z'),
        inputs: Object.entries(inputs).map(([field, value]) => ({ name: field, text: { value } })),
      }
      const response = await fetch(`http://127.0.0.1:${port}/proxy${path}/status`, {
        method: 'PUT',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ ...button, status }),
      })
      if (!response.ok) throw new Error(`the button ${name} answers ${response.status}: ${await response.text()}`)
    },
    async interrupt() {
      await child.kill('SIGINT', 10_000)
    },
  }
}

type UiResource = {
  metadata: { name: string; labels?: Record<string, string> }
  status: { updateStatus?: string; runtimeStatus?: string; disableStatus?: { state: string } }
}

/**
 * Waits until every resource that starts by itself is up. @throws Error that names the others
 */
export async function untilUp(tilt: RunningTilt, timeoutMs = 300_000): Promise<void> {
  const attempt = async () => {
    if (tilt.child.end()) throw new Error(`Tilt ended: ${tilt.child.tail()}`)
    const resources = await tilt.resources()
    const pending = [...resources].filter(
      ([, { update, runtime }]) =>
        !['ok', 'not_applicable', 'none'].includes(update) || !['ok', 'not_applicable', 'none'].includes(runtime),
    )
    if (resources.size < 2 || pending.length > 0)
      throw new Error(`waiting for ${pending.map(([name]) => name).join(', ')}; ${tilt.child.tail().slice(-1_000)}`)
    return true
  }
  await poll('every resource is up', attempt, {
    timeoutMs,
    intervalMs: 500,
    isFatal: () => tilt.child.end() !== undefined,
  })
}

/**
 * Copies the files that git knows, and their changes, with links to the packages: tests edit the
 * copy. It is inside the clone, where its files can be links, and where neither git nor vitest
 * looks.
 */
export async function copyClone(name: string): Promise<string> {
  const copy = join(root, '.sidecart', name)
  rmSync(copy, { recursive: true, force: true })
  mkdirSync(copy, { recursive: true })
  const run = promisify(execFile)
  const { stdout } = await run('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], { cwd: root })
  for (const file of stdout.split('\0').filter((each) => each !== '' && existsSync(join(root, each)))) {
    mkdirSync(dirname(join(copy, file)), { recursive: true })
    copyFileSync(join(root, file), join(copy, file))
  }
  // Hard links, and the symbolic ones in .bin as they are.
  await run('cp', ['-RPl', 'node_modules', copy], { cwd: root })
  return copy
}
