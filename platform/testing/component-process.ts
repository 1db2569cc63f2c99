import { mkdtempSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { startChild, type ChildEnd } from '../child.ts'

/** A component in its own process, as daprd uses it. */
export type ComponentProcess = {
  pid: number
  socket: string
  folder: string
  /** All of its output so far. */
  output(): string
  /** Resolves when it has ended. */
  kill(signal: 'SIGTERM' | 'SIGKILL'): Promise<ChildEnd>
}

/**
 * `preload`: a module (a path or a `data:` URL) to load first. `env`: variables beyond those that
 * every component gets.
 */
export type ComponentOptions = { preload?: string; env?: Record<string, string> }

/** Returns the command that starts `pluggable/<type>/main.ts` in a socket folder. */
export function componentCommand(
  type: string,
  folder: string,
  { preload, env }: ComponentOptions = {},
): { file: string; args: string[]; env: NodeJS.ProcessEnv } {
  const main = fileURLToPath(new URL(`../../pluggable/${type}/main.ts`, import.meta.url))
  return {
    file: process.execPath,
    args: [...(preload ? ['--import', preload] : []), main],
    env: {
      PATH: process.env['PATH'],
      DAPR_COMPONENTS_SOCKETS_FOLDER: folder,
      LOG_LEVEL: 'info',
      COMPONENT_OWNER: 'test',
      ...env,
    },
  }
}

/**
 * Returns a component's socket. daprd takes the component's type from the file's name, so that of
 * `bindings-mongodb` (`bindings.mongodb`) is `mongodb.sock`.
 */
export const socketOf = (type: string, folder: string): string => join(folder, `${type.replace(/^bindings-/, '')}.sock`)

/**
 * Starts `pluggable/<type>/main.ts` in a socket folder (a new one unless given) and waits until its
 * socket accepts connections.
 * @throws Error with the end of its output when it does not within 30 s
 */
export async function startComponentProcess(
  type: string,
  folder = mkdtempSync(join(tmpdir(), 'component-')),
  options: ComponentOptions = {},
): Promise<ComponentProcess> {
  const { file, args, env } = componentCommand(type, folder, options)
  let output = ''
  const child = startChild(file, args, { env, onOutput: (text) => (output += text) })
  const socket = socketOf(type, folder)
  // A socket file that a killed component left accepts nothing.
  await child.ready(`${type} listens`, async () => output.includes('"listening"') && (await accepts(socket)))
  return { pid: child.pid, socket, folder, output: () => output, kill: (signal) => child.kill(signal) }
}

function accepts(socket: string): Promise<boolean> {
  return new Promise((resolve) => {
    const connection = connect(socket, () => {
      connection.destroy()
      resolve(true)
    })
    connection.once('error', () => resolve(false))
  })
}
