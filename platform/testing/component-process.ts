import { spawn } from 'node:child_process'
import { mkdtempSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { credentials, Metadata, type ChannelCredentials, type ServiceError } from '@grpc/grpc-js'

/** For tests: a component as its own process, as daprd meets it. */
export type ComponentProcess = {
  pid: number
  socket: string
  folder: string
  /** Everything it wrote so far. */
  output(): string
  /** Resolves when it has ended. */
  kill(signal: 'SIGTERM' | 'SIGKILL'): Promise<void>
}

async function answers(socket: string): Promise<boolean> {
  return new Promise((resolve) => {
    const connection = connect(socket, () => {
      connection.destroy()
      resolve(true)
    })
    connection.once('error', () => resolve(false))
  })
}

/** Polls until `check` gives a value, at most `ms`. Throws with `what` when it never does. */
export async function until<T>(
  what: string,
  check: () => Promise<T | undefined | false> | T | undefined | false,
  ms = 10_000,
): Promise<T> {
  const end = Date.now() + ms
  for (;;) {
    const value = await check()
    if (value !== undefined && value !== false) return value
    if (Date.now() > end) throw new Error(`did not happen within ${ms} ms: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

/**
 * `preload`: a module (a path or a `data:` URL) that it loads first. `env`: variables beyond those
 * that it always has.
 */
export type ComponentStart = { preload?: string; env?: Record<string, string> }

/** How a component is started by itself. */
export function componentCommand(
  type: string,
  folder: string,
  { preload, env }: ComponentStart = {},
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
 * Starts `pluggable/<type>/main.ts` in a socket folder (a new one unless given) and waits until its
 * socket answers. The socket is named after the Dapr type, so that of `bindings-mongodb`
 * (`bindings.mongodb`) is `mongodb.sock`.
 */
export async function startComponentProcess(
  type: string,
  folder = mkdtempSync(join(tmpdir(), 'component-')),
  o: ComponentStart = {},
): Promise<ComponentProcess> {
  const { file, args, env } = componentCommand(type, folder, o)
  const child = spawn(file, args, { env, stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()))
  const socket = join(folder, `${type.replace(/^bindings-/, '')}.sock`)
  // A test that fails must not leave a component behind.
  const kill = () => child.kill('SIGKILL')
  process.once('exit', kill)
  const ended = new Promise<void>((resolve) =>
    child.once('exit', () => {
      process.off('exit', kill)
      resolve()
    }),
  )
  await until(
    `${type} listens`,
    async () => {
      if (child.exitCode !== null) throw new Error(`${type} ended: ${output}`)
      return output.includes('"listening"') && (await answers(socket))
    },
    30_000,
  )
  return {
    pid: child.pid ?? 0,
    socket,
    folder,
    output: () => output,
    kill: async (signal) => {
      child.kill(signal)
      await ended
    },
  }
}

type ClientClass<Client> = new (
  address: string,
  credentials: ChannelCredentials,
  options: Record<string, number>,
) => Client
type Callback<Response> = (error: ServiceError | null, response: Response) => void

/** A caller of one instance behind a socket: each call as a promise with a deadline. */
export function clientFor<Client extends { close(): void }>(
  make: ClientClass<Client>,
  socket: string,
  instance: string,
) {
  const client = new make(`unix:${socket}`, credentials.createInsecure(), {
    'grpc.max_receive_message_length': -1,
    'grpc.initial_reconnect_backoff_ms': 50,
    'grpc.max_reconnect_backoff_ms': 200,
  })
  const metadata = new Metadata()
  metadata.set('x-component-instance', instance)
  return {
    call: <Request, Response>(
      pick: (
        client: Client,
      ) => (
        request: Request,
        metadata: Metadata,
        options: { deadline: number },
        callback: Callback<Response>,
      ) => unknown,
      request: Request,
    ): Promise<Response> =>
      new Promise((resolve, reject) => {
        pick(client).call(client, request, metadata, { deadline: Date.now() + 15_000 }, (error, response) =>
          error ? reject(error) : resolve(response),
        )
      }),
    close: () => client.close(),
  }
}
