import { spawn, type ChildProcess } from 'node:child_process'
import { appendFileSync, createWriteStream } from 'node:fs'

const running = new Set<ChildProcess>()
// A builder that exits takes its compiler with it.
process.on('exit', () => {
  for (const child of running) child.kill()
})

/**
 * Runs a program to its end and appends its output to a log file.
 * @throws Error that names the program and the log when it cannot be started or fails
 */
export async function runLogged(
  log: string,
  command: string,
  args: string[],
  options: { cwd?: string; env?: NodeJS.ProcessEnv } = {},
): Promise<void> {
  appendFileSync(log, `\n$ ${command} ${args.join(' ')}\n`)
  const sink = createWriteStream(log, { flags: 'a' })
  const child = spawn(command, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] })
  running.add(child)
  child.stdout.pipe(sink, { end: false })
  child.stderr.pipe(sink, { end: false })
  const end = await new Promise<string | undefined>((resolve) => {
    child.on('error', (error: NodeJS.ErrnoException) => {
      resolve(error.code === 'ENOENT' ? `${command} is not installed` : error.message)
    })
    child.on('close', (code, signal) =>
      resolve(code === 0 ? undefined : `${command} ended with ${signal ?? `code ${code}`}`),
    )
  })
  running.delete(child)
  sink.end()
  if (end !== undefined) throw new Error(`${end}; see ${log}`)
}
