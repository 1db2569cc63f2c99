import { closeSync, existsSync, openSync, readFileSync, readSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { prettyFactory } from 'pino-pretty'
import { currentInstance } from '../../platform/supervise/instance.ts'
import { createPaths } from '../../platform/processes/paths.ts'

/** Prints the last lines of the named logs (all by default); with `follow` also new lines. */
export async function logs(
  names: string[],
  { follow = false, lines }: { follow?: boolean; lines: number },
): Promise<void> {
  const { logs: folder } = createPaths(currentInstance().instance)
  const all = existsSync(folder)
    ? readdirSync(folder)
        .filter((name) => /^[a-z-]+\.log$/.test(name))
        .map((name) => name.slice(0, -4))
    : []
  const unknown = names.find((name) => !all.includes(name))
  if (unknown !== undefined) throw new Error(`No log named "${unknown}". Logs: ${all.join(', ') || 'none yet'}`)
  const shown = names.length > 0 ? names : all
  const print = printer(shown.length > 1)

  const files = shown.map((name) => ({ name, path: join(folder, `${name}.log`), offset: 0, rest: '' }))
  for (const file of files) {
    const text = readFileSync(file.path, 'utf8')
    file.offset = Buffer.byteLength(text)
    const last = text
      .split('\n')
      .filter((line) => line !== '')
      .slice(-lines)
    for (const line of last) print(file.name, line)
  }
  if (!follow) return
  for (;;) {
    await sleep(200)
    for (const file of files) {
      const text = file.rest + readFrom(file)
      const lines = text.split('\n')
      file.rest = lines.pop() ?? ''
      for (const line of lines) if (line !== '') print(file.name, line)
    }
  }
}

/** Returns what was added since the last read; a rotated file is read from its beginning. */
function readFrom(file: { path: string; offset: number }): string {
  if (!existsSync(file.path)) return ''
  const { size } = statSync(file.path)
  if (size < file.offset) file.offset = 0
  const buffer = Buffer.alloc(size - file.offset)
  if (buffer.length === 0) return ''
  const handle = openSync(file.path, 'r')
  try {
    const read = readSync(handle, buffer, 0, buffer.length, file.offset)
    file.offset += read
    return buffer.toString('utf8', 0, read)
  } finally {
    closeSync(handle)
  }
}

/** Prints lines unchanged for a program, readable in a terminal. */
function printer(withNames: boolean): (name: string, line: string) => void {
  const pretty = process.stdout.isTTY
    ? prettyFactory({ colorize: true, ignore: 'pid,hostname', translateTime: 'SYS:HH:MM:ss.l' })
    : undefined
  return (name, line) => {
    const text = pretty && line.startsWith('{') ? pretty(line).trimEnd() : line
    process.stdout.write(withNames ? `${name} | ${text}\n` : `${text}\n`)
  }
}
