// Images of the servers, of the programs that the local shop uses too, for a cluster that reaches
// no registry. Each takes the commands, the settings and the folders of the public image that it
// stands in for, as far as k8s/components/servers uses them; so overlays/test only changes names.
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { createHash } from 'node:crypto'
import { buildOnce } from '../../parts/ensure.ts'
import { cachedPart } from '../../parts/find.ts'
import { parts } from '../../parts/parts.ts'
import { runLogged } from '../../parts/run-logged.ts'
import type { Progress } from '../../progress.ts'
import { writeImage, writeLayer, type ImageArchive, type OciConfig } from './archive.ts'
import { ensureImage } from './made.ts'
import { debianPackages, ensureDebian } from './stand-ins.ts'

export const serverImageNames = ['mongodb', 'mysql', 'kafka', 'opensearch', 'jaeger'] as const
export type ServerImageName = (typeof serverImageNames)[number]

type Server = {
  /** Scripts of servers/, and where they are in the image. */
  scripts: Record<string, string>
  config: OciConfig['config']
  /** Puts the part's programs into the image's root folder. */
  fill: (part: string, rootFolder: string, log: string) => Promise<void>
}

const path = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
const java = 'usr/lib/jvm/java-17-openjdk-amd64'

const servers: Record<ServerImageName, Server> = {
  mongodb: {
    scripts: { mongod: 'usr/local/bin/mongod' },
    config: { Env: [`PATH=${path}`], Cmd: ['mongod', '--bind_ip_all'] },
    fill: async (part, to) => copy(part, join(to, 'opt', 'secantusdb', 'secantusd-rs')),
  },
  mysql: {
    scripts: { mysqld: 'usr/local/bin/docker-entrypoint.sh' },
    config: { Env: [`PATH=${path}`], Entrypoint: ['docker-entrypoint.sh'], Cmd: ['mysqld'] },
    fill: async (part, to, log) => {
      const from = dirname(dirname(part))
      const base = join(to, 'opt', 'mariadb')
      for (const each of ['bin/my_print_defaults', 'bin/resolveip', 'bin/mariadb', 'scripts', 'share'])
        copy(join(from, each), join(base, each))
      // 300 MB with the debugger's tables, 25 without.
      await runLogged(log, 'strip', ['--strip-debug', '-o', join(base, 'bin', 'mariadbd'), part])
    },
  },
  kafka: {
    scripts: {
      'kafka-storage.sh': 'opt/kafka/bin/kafka-storage.sh',
      'kafka-server-start.sh': 'opt/kafka/bin/kafka-server-start.sh',
    },
    config: {
      Env: [`PATH=/${java}/bin:${path}`],
      Cmd: ['/opt/kafka/bin/kafka-server-start.sh', '/opt/kafka/config/server.properties'],
    },
    fill: async (libs, to, log) => {
      copy(libs, join(to, 'opt', 'kafka', 'libs'))
      await addJava(to, log)
    },
  },
  opensearch: {
    scripts: { opensearch: 'usr/local/bin/docker-entrypoint.sh' },
    config: { Env: [`PATH=/${java}/bin:${path}`], Entrypoint: ['docker-entrypoint.sh'], Cmd: ['opensearch'] },
    fill: async (classes, to, log) => {
      for (const each of ['classes', 'libs']) copy(join(dirname(classes), each), join(to, 'opt', 'opensearch', each))
      mkdirSync(join(to, 'usr', 'share', 'opensearch', 'data'), { recursive: true })
      await addJava(to, log)
    },
  },
  jaeger: {
    scripts: {},
    config: { Env: [`PATH=${path}`], Entrypoint: ['/usr/local/bin/jaeger'] },
    fill: async (part, to) => copy(part, join(to, 'usr', 'local', 'bin', 'jaeger')),
  },
}

/** Adds the Java runtime of Debian. */
async function addJava(to: string, log: string): Promise<void> {
  const packages = join(to, 'packages.tar')
  await debianPackages({ variant: 'extract', packages: ['openjdk-17-jre-headless'], target: packages, log })
  // Nothing else of the packages: the base has the libraries, and their folder /lib would take the
  // place of the base's link of that name.
  const wanted = [`./${java}`, './etc/java-17-openjdk']
  await runLogged(log, 'tar', ['--extract', '--file', packages, '--directory', to, ...wanted])
  rmSync(packages)
}

/** Makes the images sidecart-test/<name>:1 that are not in the cache, and their programs too. */
export async function ensureServerImages(
  names: readonly ServerImageName[],
  progress: Progress,
): Promise<ImageArchive[]> {
  const debian = await ensureDebian(progress)
  return Promise.all(names.map((name) => ensureServerImage(name, debian, progress)))
}

async function ensureServerImage(
  name: ServerImageName,
  debian: ImageArchive,
  progress: Progress,
): Promise<ImageArchive> {
  const { scripts, config, fill } = servers[name]
  const part = cachedPart(name).path
  if (!existsSync(part)) await buildOnce(parts[name], progress)
  const script = (file: string) => join(import.meta.dirname, 'servers', file)
  const image = `docker.io/sidecart-test/${name}:1`
  return ensureImage(
    {
      name: image,
      base: debian,
      inputs: [
        1,
        parts[name].cacheKey,
        config,
        Object.entries(scripts).map(([file, to]) => [to, hashOf(script(file))]),
      ],
      usualSeconds: config.Env?.some((each) => each.includes(java)) ? 30 : 5,
      make: async (folder, log) => {
        const content = join(folder, 'root')
        mkdirSync(content)
        for (const [file, to] of Object.entries(scripts)) copy(script(file), join(content, to))
        await fill(part, content, log)
        const layer = join(folder, 'layer.tar')
        writeLayer(layer, content)
        await writeImage(folder, { name: image, base: debian, layers: [layer], config })
        for (const each of [content, layer]) rmSync(each, { recursive: true })
      },
    },
    progress,
  )
}

function copy(from: string, to: string): void {
  mkdirSync(dirname(to), { recursive: true })
  cpSync(from, to, { recursive: true, verbatimSymlinks: true })
}

const hashOf = (file: string) => createHash('sha256').update(readFileSync(file)).digest('hex')
