import { existsSync, globSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { rootCertificates } from 'node:tls'
import { describe, expect, test } from 'vitest'
import { parseAllDocuments } from 'yaml'
import type { z } from 'zod'
import { parseMongodbBindingSettings, schema as bindingSchema } from './bindings-mongodb/metadata.ts'
import { readEnvironment } from './host/environment.ts'
import { explainKafkaError } from './outbox/kafka-errors.ts'
import { parseMongodbSettings, schema as mongodbSchema } from './outbox-mongodb/metadata.ts'
import { parseMysqlSettings, schema as mysqlSchema } from './outbox-mysql/metadata.ts'

// README.md and docs/pluggable say what the code does.

const root = join(import.meta.dirname, '..')
const read = (file: string) => readFileSync(join(root, file), 'utf8')
const pages = ['pluggable/README.md', ...globSync('docs/pluggable/*.md', { cwd: root })]
const prose = pages.map(read).join('\n')
const containerfile = read('images/Containerfile')
const sources = globSync('pluggable/**/*.ts', { cwd: root, exclude: ['**/*.test.ts', 'pluggable/tests/**'] })
  .map(read)
  .join('\n')

type Container = { name: string; volumeMounts: { name: string }[] }
type Resource = {
  kind: string
  metadata: { name: string }
  spec: {
    type: string
    metadata: { name: string; value?: string }[]
    template: {
      spec: {
        securityContext: { runAsUser: number; runAsGroup: number }
        initContainers: Container[]
        volumes: { name: string }[]
      }
    }
  }
}
const blocks = (language: string, text = prose) =>
  [...text.matchAll(new RegExp(`\`\`\`${language}\n(.*?)\`\`\``, 'gs'))].map(([, block = '']) => block)
const resources = (yaml: string) => parseAllDocuments(yaml, { strict: true }).map((each) => each.toJS() as Resource)
const yaml = blocks('yaml', read('docs/pluggable/kubernetes.md'))[0] ?? ''
const [component, deployment] = resources(yaml)

const section = (page: string, heading: string) =>
  new RegExp(`^## ${heading}\n(.*?)(?=^## |$(?![^]))`, 'ms').exec(read(`docs/pluggable/${page}.md`))?.[1] ?? ''
const firstTable = (markdown: string) => /^\|.*?(?=^[^|])/ms.exec(markdown)?.[0] ?? ''
/** The cells of the rows whose first cell is code. */
const rows = (markdown: string) =>
  [...markdown.matchAll(/^\| `.*\|$/gm)].map(([row]) =>
    row
      .slice(1, -1)
      .split('|')
      .map((cell) => cell.trim()),
  )
const code = (cell = '') => /^`([^`]+)`$/.exec(cell)?.[1]

test('the files that they name exist', () => {
  const named = [...prose.matchAll(/`([\w./-]+\.(?:ts|go))`/g)].map(([, file = '']) => file)
  // Those of the whole project are named from its root.
  const missing = named.filter((file) => !existsSync(join(import.meta.dirname, file)) && !existsSync(join(root, file)))
  expect([named.length > 10, missing]).toEqual([true, []])
})

test('their links lead to files and headings', () => {
  const slug = (heading: string) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\w\s-]/g, '')
      .replaceAll(' ', '-')
  const links = pages.flatMap((page) =>
    [...read(page).matchAll(/\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)/g)].map(([link, path = '', anchor]) => ({
      link: `${page}: ${link}`,
      target: path === '' ? page : join(dirname(page), path),
      anchor,
    })),
  )
  const broken = links.filter(({ target, anchor }) => {
    if (!existsSync(join(root, target))) return true
    if (anchor === undefined) return false
    return ![...read(target).matchAll(/^#+ (.*)$/gm)].some(([, heading = '']) => slug(heading) === anchor)
  })
  expect([links.length > 10, broken.map(({ link }) => link)]).toEqual([true, []])
})

describe('examples', () => {
  // As if these were in the secrets that they name.
  const secrets: Record<string, string> = {
    connectionString: /# (orders:password@tcp.*)$/m.exec(yaml)?.[1] ?? '',
    relaySaslPassword: 'password',
    relayCaCert: rootCertificates[0] ?? '',
  }
  const propertiesOf = ({ spec }: Resource) =>
    Object.fromEntries(spec.metadata.map(({ name, value }) => [name, value ?? secrets[name] ?? 'unknown']))
  const parsers: Record<string, (properties: Record<string, string>) => unknown> = {
    'state.outbox-mysql': parseMysqlSettings,
    'state.outbox-mongodb': parseMongodbSettings,
    'bindings.mongodb': parseMongodbBindingSettings,
  }

  test('YAML and JSON parse, and each component takes its settings', () => {
    const components = blocks('yaml')
      .flatMap(resources)
      .filter(({ kind }) => kind === 'Component')
    expect(components.length).toBeGreaterThan(1)
    for (const each of components) {
      expect(each).toMatchObject({ apiVersion: 'dapr.io/v1alpha1', spec: { version: 'v1' } })
      expect(each.metadata.name).toMatch(/^[a-z0-9-]+$/)
      expect(() => parsers[each.spec.type]!(propertiesOf(each))).not.toThrow()
    }
    expect(blocks('json').map((text) => typeof JSON.parse(text))).toEqual(['object', 'object', 'object'])
  })

  test('the stores take the settings of the example for Kubernetes', () => {
    expect(parseMysqlSettings(propertiesOf(component!))).toMatchObject({
      address: { host: 'mysql.data.svc', database: 'orders', tls: 'verify-by-pem' },
      relayBrokers: [expect.any(String), expect.any(String), expect.any(String)],
      relaySaslMechanism: 'SHA-512',
    })
  })

  test("its container is the Containerfile's user, and its volumes are the pod's", () => {
    const { securityContext, initContainers, volumes } = deployment!.spec.template.spec
    expect(containerfile).toContain(`USER ${securityContext.runAsUser}:${securityContext.runAsGroup}\n`)
    const [container] = initContainers
    expect(containerfile).toContain(` AS ${container!.name}\n`)
    expect(container!.volumeMounts.map(({ name }) => name)).toEqual(volumes.map(({ name }) => name))
  })

  test('the container that Dapr would inject is the same', () => {
    const [own] = parseAllDocuments(blocks('yaml', read('docs/pluggable/kubernetes.md'))[1] ?? '')
    const text = (own!.toJS() as { annotations: Record<string, string> }).annotations['dapr.io/component-container']
    const injected = JSON.parse(text ?? '') as Container & { image: string; resources: object }
    const [container] = deployment!.spec.template.spec.initContainers
    const { name, image, resources } = container as typeof injected
    expect(injected).toMatchObject({ name, image, resources })
  })
})

describe('tables', () => {
  type Shape = Record<string, z.ZodType>
  /** Dapr's own settings, which the stores check but do not define. */
  const foreign = ['actorStateStore', 'outboxPublishPubsub']
  const settings = (heading: string) => rows(firstTable(section('settings', heading)))
  const shared = () => [...settings('Events \\(both stores\\)'), ...settings('Kafka login \\(both stores\\)')]

  test.each<[string, Shape, () => string[][]]>([
    ['state.outbox-mysql', mysqlSchema.shape, shared],
    ['state.outbox-mongodb', mongodbSchema.shape, shared],
    ['bindings.mongodb', bindingSchema.shape, () => []],
  ])('every setting of %s, with its default', (type, shape, others) => {
    const listed = [...settings(`\`${type}\``), ...others()]
    const documented = Object.fromEntries(listed.map(([name, , text]) => [code(name), code(text) ?? text]))
    const actual = Object.fromEntries(
      Object.entries(shape)
        .filter(([name]) => !foreign.includes(name))
        .map(([name, field]) => {
          const unset = field.safeParse(undefined)
          const value: unknown = unset.data
          // An empty list is as good as none.
          const isNone = value === undefined || (Array.isArray(value) && value.length === 0)
          return [name, unset.success ? (isNone ? '–' : String(value)) : 'required']
        }),
    )
    expect(documented).toEqual(actual)
  })

  test('environment variables', () => {
    const documented = new Map(
      rows(section('settings', 'Environment variables')).map(([name, text]) => [code(name), code(text)]),
    )
    const { socketsFolder, metricsHost, logLevel, logFormat } = readEnvironment({})
    expect(documented.get('DAPR_COMPONENTS_SOCKETS_FOLDER')).toBe(socketsFolder)
    expect(documented.get('METRICS_HOST')).toBe(metricsHost)
    expect(documented.get('LOG_LEVEL')).toBe(logLevel)
    expect(documented.get('LOG_FORMAT')).toBe(logFormat)
    const unread = [...documented.keys()].filter((name) => !sources.includes(name!))
    expect([documented.size, unread]).toEqual([7, []])
  })

  test('error codes', () => {
    const codes = /type ComponentErrorCode =(.*?)\n\n/s.exec(read('pluggable/host/errors.ts'))?.[1] ?? ''
    const documented = rows(section('guarantees', 'Error codes')).map(([name, status]) => [code(name), code(status)])
    expect(documented.map(([name]) => name).toSorted()).toEqual(
      [...codes.matchAll(/'(\w+)'/g)].map(([, name]) => name!).toSorted(),
    )
    for (const [name, status] of documented) expect(sources).toContain(`${name}: status.${status},`)
  })

  test('metrics', () => {
    const inCode = [...sources.matchAll(/'((?:outbox|component)_[a-z_]+)'/g)].map(([, name]) => name!)
    const documented = rows(section('operating', 'Metrics')).map(([name]) => code(name)!)
    expect(documented.toSorted()).toEqual([...new Set(inCode)].toSorted())
  })
})

describe('troubleshooting', () => {
  const troubleshooting = read('docs/pluggable/troubleshooting.md')

  test('names messages that the code has', () => {
    const messages = [...troubleshooting.matchAll(/`([^`\n]+)`/g)]
      .flatMap(([, text = '']) => text.replace(/^[A-Z_]+: /, '').split('…'))
      .map((text) => text.trim().replaceAll('"', ''))
      // Messages of several words: of the components and of Kafka's errors, not of daprd.
      .filter((text) => text.split(' ').length > 3)
      .filter((text) => !/^(couldn't find|init timeout)/.test(text))
    expect(messages.length).toBeGreaterThan(20)
    const plain = sources.replaceAll(/["\\]/g, '')
    expect(messages.filter((text) => !plain.includes(text))).toEqual([])
  })

  test.each([
    'SASL SCRAM SHA512 authentication failed: x',
    'The broker does not support the requested SASL mechanism',
    'Connection error: unable to verify the first certificate',
    "Connection error: Hostname/IP does not match certificate's altnames: x",
    'Connection error: ssl/tls alert bad certificate',
    'Connection error: Client network socket disconnected before secure TLS connection was established',
    'Closed connection',
    'This server does not host this topic-partition',
    'Not authorized to access topics: [Topic authorization failed]',
  ])('knows what the log makes of "%s"', (message) => {
    const said = (explainKafkaError(new Error(message)) as Error).message.replace(/[;(].*$/s, '').trim()
    expect(said).not.toBe(message)
    expect(troubleshooting).toContain(said)
  })
})
