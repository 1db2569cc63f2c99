// Kafka spends most of its start loading classes. A class archive (the JVM's class data sharing)
// cuts the start from 6.0 s of CPU to 2.9 s. An archive fits one JVM and one path, so it is created
// once, after Kafka is in place, and kept next to it. A JVM ignores an archive that does not fit.
import { createHash } from 'node:crypto'
import { accessSync, constants, existsSync, mkdirSync, realpathSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { cacheFolder, makeOnce } from './cache.ts'
import { startChild } from '../child.ts'
import { freePorts, isFree } from '../free-ports.ts'
import type { Progress } from '../progress.ts'
import { parts } from './parts.ts'
import { runLogged } from './run-logged.ts'

/**
 * Creates the archive for the Kafka in `libs` unless it exists.
 * @returns its file, or undefined when it cannot be created: Kafka works without it
 */
export async function ensureKafkaArchive(libs: string, progress: Progress): Promise<string | undefined> {
  const java = javaProgram()
  if (java === undefined) return undefined
  const jvm = createHash('sha256')
    .update(`${java} ${statSync(java).mtimeMs}`)
    .digest('hex')
    .slice(0, 8)
  const key = `${parts.kafka.cacheKey}-classes-${jvm}`
  const folder = join(cacheFolder(), key)
  if (!existsSync(folder)) {
    const log = join(cacheFolder(), 'logs', `${key}.log`)
    const step = { title: 'Kafka: class archive', usualSeconds: 15, log }
    await progress.step(step, () => makeOnce(folder, (empty) => record(java, libs, empty, log))).catch(() => {})
  }
  const file = join(folder, 'kafka.jsa')
  return existsSync(file) ? file : undefined
}

/** Runs a separate Kafka until it listens; at its end the JVM writes the classes it loaded. */
async function record(java: string, libs: string, folder: string, log: string): Promise<void> {
  const [broker = 0, controller = 0] = await freePorts(2)
  const work = join(folder, 'work')
  mkdirSync(work)
  const properties = join(work, 'kafka.properties')
  writeFileSync(
    properties,
    Object.entries({
      'process.roles': 'broker,controller',
      'node.id': 1,
      'controller.quorum.voters': `1@127.0.0.1:${controller}`,
      listeners: `PLAINTEXT://127.0.0.1:${broker},CONTROLLER://127.0.0.1:${controller}`,
      'controller.listener.names': 'CONTROLLER',
      'log.dirs': join(work, 'data'),
    })
      .map(([name, value]) => `${name}=${value}\n`)
      .join(''),
  )
  writeFileSync(log, '')
  const classpath = ['-cp', `${libs}/*`]
  await runLogged(log, java, [
    ...classpath,
    'kafka.tools.StorageTool',
    'format',
    '--cluster-id',
    'AAAAAAAAQACAAAAAAAAAAA',
    '--config',
    properties,
  ])

  const args = [
    '-Xmx512m',
    '-XX:+UseSerialGC',
    `-XX:ArchiveClassesAtExit=${join(folder, 'kafka.jsa')}`,
    ...classpath,
    'kafka.Kafka',
    properties,
  ]
  const kafka = startChild(java, args, { log })
  await kafka.ready('Kafka listens', async () => !(await isFree(broker)), 60_000)
  await kafka.kill('SIGTERM', 60_000)
  rmSync(work, { recursive: true })
  if (!existsSync(join(folder, 'kafka.jsa'))) throw new Error(`the JVM wrote no class archive; see ${log}`)
}

function javaProgram(): string | undefined {
  for (const folder of (process.env['PATH'] ?? '').split(delimiter)) {
    const file = join(folder, 'java')
    try {
      accessSync(file, constants.X_OK)
      return realpathSync(file)
    } catch {
      // Not here.
    }
  }
  return undefined
}
