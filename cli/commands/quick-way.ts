// What `npm run doctor` says under its table: the quickest way to a shop on this machine.
import { parts, type PartName } from '../../platform/parts/parts.ts'
import { duration } from '../../platform/progress.ts'

/** 'no engine': there is a client, but `docker info` fails. 'no compose': the plugin is missing. */
export type Docker = 'absent' | 'no engine' | 'no compose' | 'works'

/** What compose.yaml runs. */
export const composeParts: readonly PartName[] = ['mongodb', 'mysql', 'kafka', 'opensearch', 'jaeger']

/**
 * What a shell needs before `npm start` so that the shop uses compose.yaml's servers. The head of
 * that file has the same lines.
 */
export const composeEnvironment = [
  'export MONGODB_URI="mongodb://root:$SERVERS_PASSWORD@127.0.0.1:27017/?replicaSet=shop"',
  'export MYSQL_URL="mysql://root:$SERVERS_PASSWORD@127.0.0.1:3306/"',
  'export KAFKA_BROKERS="127.0.0.1:9092"',
  'export OPENSEARCH_URL="http://127.0.0.1:9200"',
  'export OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:4317"',
  'export SIDECART_JAEGER="http://127.0.0.1:16687"',
]

export type Machine = {
  docker: Docker
  /** To be built or unpacked by the next start. */
  missing: PartName[]
  /** Missing, and its tools are missing as well, or its variable names no program. */
  unavailable: PartName[]
}

/** Returns one line on the quickest way; if that is compose.yaml, also the lines to copy. */
export function describeQuickWay({ docker, missing, unavailable }: Machine): string {
  const lacking = [...missing, ...unavailable]
  if (lacking.length === 0) return 'Quick way: npm start. Every part was found; nothing is built.'
  if (!lacking.some((name) => composeParts.includes(name))) return withoutDocker(missing, unavailable)
  switch (docker) {
    case 'works': {
      const rest = (names: PartName[]) => names.filter((name) => !composeParts.includes(name))
      return [
        'Quick way: docker compose up --wait, then npm start with the lines below. ' +
          describeBuilds(rest(missing), rest(unavailable)),
        '  . ./.env   # holds SERVERS_PASSWORD; the head of compose.yaml says how to create it',
        ...composeEnvironment.map((line) => `  ${line}`),
      ].join('\n')
    }
    case 'no engine':
      return `No Docker engine responds; with one, compose.yaml is quicker. ${withoutDocker(missing, unavailable)}`
    case 'no compose':
      return `Docker has no compose plugin; with it, compose.yaml is quicker. ${withoutDocker(missing, unavailable)}`
    case 'absent':
      return withoutDocker(missing, unavailable)
  }
}

function withoutDocker(missing: PartName[], unavailable: PartName[]): string {
  const way = unavailable.length === 0 ? 'Quick way: npm start.' : 'No quick way yet.'
  return `${way} ${describeBuilds(missing, unavailable)}`
}

/** Returns sentences on what the user has to install, what is built, and how long that takes. */
function describeBuilds(missing: PartName[], unavailable: PartName[]): string {
  const sentences: string[] = []
  if (unavailable.length > 0) sentences.push(`${titles(unavailable)} must be installed first (see the table).`)
  const before = missing.filter((name) => name !== 'jaeger')
  if (before.length > 0) sentences.push(`It builds ${titles(before)}, usually in ${time(before)}.`)
  if (missing.includes('jaeger'))
    sentences.push(`Jaeger is built while the shop already runs, usually in ${time(['jaeger'])}.`)
  return sentences.length > 0 ? sentences.join(' ') : 'Nothing is built.'
}

const titles = (names: PartName[]) => names.map((name) => parts[name].title).join(', ')
const time = (names: PartName[]) => duration(usualSeconds(names) * 1000)

/**
 * Returns how long builds usually take: as in platform/parts/ensure.ts, two at a time, the slowest
 * first.
 */
export function usualSeconds(names: PartName[]): number {
  const workers = [0, 0]
  for (const seconds of names.map((name) => parts[name].usualSeconds).toSorted((a, b) => b - a)) {
    workers.sort((a, b) => a - b)
    workers[0]! += seconds
  }
  return Math.max(...workers)
}
