import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { databaseUrls, kafkaBrokers, otlpEndpoint, rootUrls } from '../../platform/processes/addresses.ts'
import { allPorts, createPorts } from '../../platform/processes/ports.ts'
import { findPart } from '../../platform/parts/find.ts'
import { partNames, parts, type PartName } from '../../platform/parts/parts.ts'
import { composeEnvironment, composeParts, describeQuickWay, usualSeconds } from './quick-way.ts'

type Service = {
  image: string
  ports: string[]
  volumes?: string[]
  environment?: Record<string, string>
  entrypoint?: string[]
  healthcheck: { test: string[] }
}

const root = join(import.meta.dirname, '..', '..')
const text = readFileSync(join(root, 'compose.yaml'), 'utf8')
const { services, volumes } = parse(text) as { services: Record<string, Service>; volumes: Record<string, unknown> }
const head = text.slice(0, text.indexOf('\nname:'))

/** The lines as a shell reads them. */
const environment = Object.fromEntries(
  execFileSync('sh', ['-c', `${composeEnvironment.join('\n')}\nenv`], {
    env: { PATH: process.env['PATH'], SERVERS_PASSWORD: 'p4ss' },
    encoding: 'utf8',
  })
    .split('\n')
    .map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
) as Record<string, string>

describe('compose.yaml', () => {
  it('runs the parts that are used by address, and no others', () => {
    expect(Object.keys(services).toSorted()).toEqual([...composeParts].toSorted())
    expect(composeParts.toSorted()).toEqual(partNames.filter((name) => parts[name].addressVariable).toSorted())
  })

  it('pins each image to a suitable version, at least to its minor', () => {
    for (const name of composeParts) {
      const tag = services[name]!.image.split(':')[1]
      expect(tag).toMatch(/^\d+\.\d+(\.\d+)?$/)
      expect(parts[name].accepts(`Ver ${tag}`)).toBe(true)
    }
    expect(parts.kafka.cacheKey).toBe(`kafka-${services['kafka']!.image.split(':')[1]}`)
  })

  it("publishes on this machine only, and on none of the shop's ports", () => {
    const published = Object.values(services).flatMap(({ ports }) => ports)
    expect(published.length).toBeGreaterThanOrEqual(composeParts.length)
    const shop = allPorts(createPorts())
    for (const port of published) {
      expect(port).toMatch(/^127\.0\.0\.1:\d+:\d+$/)
      expect(shop).not.toContain(Number(port.split(':')[1]))
    }
  })

  it('holds no password, and requires one', () => {
    for (const { environment = {} } of Object.values(services)) {
      for (const [name, value] of Object.entries(environment)) {
        if (/PASSWORD/.test(name)) expect(value).toMatch(/^\$\{SERVERS_PASSWORD:\?[^}]+\}$/)
      }
    }
    expect(text).not.toMatch(/PASSWORD:-/)
    const ignored = execFileSync('git', ['check-ignore', '.env'], { cwd: root, encoding: 'utf8' })
    expect(ignored.trim()).toBe('.env')
  })

  it('checks the health of each server, and keeps the data of those that have some', () => {
    for (const name of composeParts) expect(services[name]!.healthcheck.test[0]).toBe('CMD')
    const mounted = Object.values(services).flatMap((service) => (service.volumes ?? []).map((v) => v.split(':')[0]))
    expect(mounted.toSorted()).toEqual(Object.keys(volumes).toSorted())
    expect(mounted.toSorted()).toEqual(['kafka', 'mongodb', 'mysql', 'opensearch'])
  })

  it('has the addresses that doctor prints, line by line', () => {
    const printed = head.split('\n').filter((line) => line.startsWith('#   export '))
    expect(printed.map((line) => line.slice(4))).toEqual(composeEnvironment)
    const addresses = [
      new URL(environment['MONGODB_URI']!).host,
      new URL(environment['MYSQL_URL']!).host,
      environment['KAFKA_BROKERS']!,
      new URL(environment['OPENSEARCH_URL']!).host,
      new URL(environment['OTEL_EXPORTER_OTLP_ENDPOINT']!).host,
      new URL(environment['SIDECART_JAEGER']!).host,
    ]
    const published = Object.values(services).flatMap(({ ports }) => ports.map((port) => port.replace(/:\d+$/, '')))
    expect(addresses.toSorted()).toEqual(published.toSorted())
  })

  it('calls the replica set and the broker what clients call them', () => {
    const mongodb = new URL(environment['MONGODB_URI']!)
    const { entrypoint, healthcheck } = services['mongodb']!
    expect(entrypoint!.join(' ')).toContain(`--replSet ${mongodb.searchParams.get('replicaSet')} `)
    expect(healthcheck.test.join(' ')).toContain(
      `{ _id: '${mongodb.searchParams.get('replicaSet')}', members: [{ _id: 0, host: '${mongodb.host}' }] }`,
    )
    const advertised = services['kafka']!.environment!['KAFKA_ADVERTISED_LISTENERS']
    expect(advertised).toBe(`PLAINTEXT://${environment['KAFKA_BROKERS']}`)
  })

  it('is what `npm start` takes', () => {
    const found = Object.fromEntries(composeParts.map((name) => [name, findPart(name, environment)]))
    expect(Object.values(found).map(({ from }) => from)).toEqual(composeParts.map(() => 'address'))
    const secrets = { services: { orders: { database: 'own' } } }
    const known = { servers: found, ports: createPorts(), secrets } as unknown as Parameters<typeof databaseUrls>[0]
    expect(rootUrls(known).mongodbUri).toBe('mongodb://root:p4ss@127.0.0.1:27017/?replicaSet=shop')
    expect(databaseUrls(known, 'orders')).toEqual({
      mongodbUri: 'mongodb://orders:own@127.0.0.1:27017/orders?replicaSet=shop&authSource=orders',
      mysqlUrl: 'mysql://orders:own@127.0.0.1:3306/orders',
      mysqlDsn: 'orders:own@tcp(127.0.0.1:3306)/orders?parseTime=true',
    })
    expect(kafkaBrokers(known)).toBe('127.0.0.1:9092')
    expect(otlpEndpoint(known)).toBe('http://127.0.0.1:4317')
  })
})

describe('the quick way', () => {
  const everything = [...partNames]
  const describeWay = (machine: Partial<Parameters<typeof describeQuickWay>[0]>) =>
    describeQuickWay({ docker: 'absent', missing: [], unavailable: [], ...machine })

  it('with Docker is compose.yaml, with the lines to copy and what is still built', () => {
    const [line, ...lines] = describeWay({ docker: 'works', missing: everything }).split('\n')
    expect(line).toMatch(/^Quick way: docker compose up --wait, then npm start/)
    expect(line).toContain('It builds Dapr sidecar, Dapr sentry, process-compose, usually in 4 min 30 s.')
    expect(line).not.toMatch(/MySQL|Jaeger/)
    expect(lines.slice(1).map((copied) => copied.trim())).toEqual(composeEnvironment)
  })

  it('with Docker needs no tools for what compose.yaml runs', () => {
    const unavailable: PartName[] = ['mysql', 'mongodb']
    expect(describeWay({ docker: 'works', unavailable }).split('\n')[0]).toMatch(/Nothing is built\.$/)
    expect(describeWay({ docker: 'works', unavailable: ['mysql', 'sentry'] })).toContain(
      'Dapr sentry must be installed first',
    )
  })

  it('says what Docker lacks', () => {
    expect(describeWay({ docker: 'no engine', missing: ['mysql'] })).toMatch(
      /^No Docker engine responds.*Quick way: npm start\./,
    )
    expect(describeWay({ docker: 'no compose', missing: ['mysql'] })).toMatch(/compose plugin.*Quick way: npm start\./)
  })

  it('without Docker names what the next start builds and for how long, Jaeger apart', () => {
    const line = describeWay({ missing: everything })
    expect(line).toContain(
      'It builds MongoDB, MySQL, Kafka, OpenSearch, Dapr sidecar, Dapr sentry, process-compose, usually in 7 min',
    )
    expect(line).toContain('Jaeger is built while the shop already runs, usually in 5 min 10 s.')
    expect(line.split('\n')).toHaveLength(1)
  })

  it('without a part that cannot be built is none yet', () => {
    expect(describeWay({ missing: ['daprd'], unavailable: ['mongodb'] })).toMatch(/^No quick way yet\. MongoDB must/)
  })

  it('is npm start where nothing is missing, and where Docker would not help', () => {
    for (const docker of ['absent', 'no engine', 'works'] as const) {
      expect(describeWay({ docker })).toBe('Quick way: npm start. Every part was found; nothing is built.')
      expect(describeWay({ docker, missing: ['sentry'] })).toBe(
        'Quick way: npm start. It builds Dapr sentry, usually in 40 s.',
      )
    }
  })
})

it('two builds run at a time, the slowest first', () => {
  expect(usualSeconds([])).toBe(0)
  expect(usualSeconds(['daprd'])).toBe(270)
  expect(usualSeconds(['sentry', 'process-compose', 'daprd'])).toBe(270)
  expect(usualSeconds(['mongodb', 'daprd', 'jaeger'])).toBe(580)
})
