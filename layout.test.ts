// The rules of the layout (docs/architecture.md), read from the source: who may import what, what
// stands where, and how long a line may be.
import { execFileSync } from 'node:child_process'
import { existsSync, globSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { describe, expect, it, test } from 'vitest'
import { parse, parseAllDocuments } from 'yaml'
import { serviceNames, services, type ServiceName } from './platform/processes/services.ts'

type Import = { file: string; target: string }

const root = import.meta.dirname
const read = (file: string) => readFileSync(join(root, file), 'utf8')

/**
 * Every import of a program at run time (types are gone by then) unless `types` are wanted too:
 * packages by name, own files by their path from the root.
 */
function imports(pattern: string | string[], types = false): Import[] {
  return globSync(pattern, { cwd: root }).flatMap((file) =>
    [
      ...read(file)
        .replaceAll(types ? /^$/gm : /^(import|export) type [^;]*? from .*$/gm, '')
        .matchAll(/(?:from|import)\s*\(?\s*['"]([^'"]+)['"]/g),
    ].map(([, name]) => ({ file, target: resolve(file, name!) })),
  )
}

function resolve(file: string, name: string): string {
  if (name.startsWith('.')) return relative(root, join(root, dirname(file), name))
  return name.replace(/^#lib\//, 'lib/').replace(/^#protos\//, 'protos/gen/')
}

const isTest = (file: string) => file.endsWith('.test.ts')
const places = (found: Import[]) => found.map(({ file, target }) => `${file} imports ${target}`)

/**
 * The layers, each with those that it may import besides itself. Tests may also use the helpers of
 * platform/testing.
 */
const layers: Record<string, string[]> = {
  protos: [],
  lib: ['protos'],
  services: ['lib', 'protos'],
  pluggable: ['lib', 'protos'],
  examples: ['lib', 'protos'],
  images: [],
  platform: ['images', 'lib', 'protos'],
  k8s: ['platform', 'lib'],
  'pluggable/tests': ['images', 'pluggable', 'platform', 'lib', 'protos'],
  bench: ['pluggable', 'platform', 'lib', 'protos'],
  reconcile: ['platform', 'lib', 'protos'],
  e2e: ['k8s', 'reconcile', 'platform', 'lib', 'protos'],
  tilt: ['platform', 'lib', 'protos'],
  cli: ['bench', 'e2e', 'k8s', 'pluggable/tests', 'reconcile', 'platform', 'lib', 'protos'],
}

function layerOf(path: string): string | undefined {
  if (path.startsWith('pluggable/tests/')) return 'pluggable/tests'
  const [folder = ''] = path.split('/')
  return folder in layers ? folder : undefined
}

describe('imports', () => {
  const all = imports(Object.keys(layers).map((layer) => `${layer}/**/*.ts`)).filter(
    ({ file }, i, list) => list.findIndex((other) => other.file === file && other.target === list[i]!.target) === i,
  )

  it('run one way between folders', () => {
    expect(all.length).toBeGreaterThan(500)
    const wrong = all.filter(({ file, target }) => {
      const from = layerOf(file)!
      const to = layerOf(target)
      if (to === undefined || to === from || layers[from]!.includes(to)) return false
      return !(isTest(file) && (target.startsWith('platform/') || target.startsWith('examples/')))
    })
    expect(places(wrong)).toEqual([])
  })

  it('have no circle between folders below the layers', () => {
    const edges = new Map<string, Set<string>>()
    for (const { file, target } of all) {
      if (isTest(file) || layerOf(target) === undefined) continue
      const [from, to] = [dirname(file), dirname(target)]
      if (from !== to) edges.set(from, (edges.get(from) ?? new Set()).add(to))
    }
    expect(circles(edges)).toEqual([])
  })

  it('have no circle between files, types included (oxlint sees those of values only)', () => {
    const edges = new Map<string, Set<string>>()
    for (const { file, target } of imports(
      Object.keys(layers).map((layer) => `${layer}/**/*.ts`),
      true,
    ))
      edges.set(file, (edges.get(file) ?? new Set()).add(target))
    expect(circles(edges)).toEqual([])
  })

  it('of a service name no database or broker driver, nor does what services share', () => {
    const drivers = /^(mongodb|mysql2|kafkajs|mysql|pg|redis|ioredis|mongoose|node:sqlite|node:net|node:dgram)(\/|$)/
    const wrong = all.filter(
      ({ file, target }) => /^(services|lib)\//.test(file) && drivers.test(target) && !isTest(file),
    )
    expect(places(wrong)).toEqual([])
  })

  it('do not cross from one service to another', () => {
    const owner = (path: string) => /^services\/([^/]+)\//.exec(path)?.[1]
    expect(places(all.filter(({ file, target }) => owner(target) && owner(target) !== owner(file)))).toEqual([])
  })

  it('reach the sidecar from stores, clients and main only', () => {
    const wrong = all.filter(
      ({ file, target }) =>
        file.startsWith('services/') &&
        target === 'lib/dapr.ts' &&
        !isTest(file) &&
        !/(-store|-client|main)\.ts$/.test(file),
    )
    expect(places(wrong)).toEqual([])
  })
})

/** Each circle once, as the folders or files along it. */
function circles(edges: Map<string, Set<string>>): string[] {
  const found: string[] = []
  const finished = new Set<string>()
  const visit = (folder: string, path: string[]) => {
    if (path.includes(folder)) return void found.push([...path.slice(path.indexOf(folder)), folder].join(' -> '))
    if (finished.has(folder)) return
    for (const next of edges.get(folder) ?? []) visit(next, [...path, folder])
    finished.add(folder)
  }
  for (const folder of edges.keys()) visit(folder, [])
  return found
}

describe('YAML', () => {
  const documents = (pattern: string) =>
    globSync(pattern, { cwd: root }).flatMap((file) =>
      parseAllDocuments(read(file)).map((document) => ({ file, resource: document.toJS() as Resource })),
    )
  type Resource = {
    kind: string
    metadata: { name: string }
    scopes?: string[]
    spec?: {
      accessControl?: { policies?: { appId: string; operations: { name: string }[] }[] }
      metadata?: { name: string; value?: string; secretKeyRef?: { name: string; key: string } }[]
    }
  }

  test("a secret that a Component names is its own service's, or the broker's", () => {
    const refs = documents('components/*/*.yaml').flatMap(({ file, resource }) =>
      (resource.spec?.metadata ?? []).flatMap(({ secretKeyRef }) => (secretKeyRef ? [{ file, secretKeyRef }] : [])),
    )
    expect(refs.length).toBeGreaterThan(10)
    const wrong = refs.filter(({ file, secretKeyRef: { name, key } }) =>
      name === 'kafka' ? key !== 'brokers' : name !== file.split('/')[1],
    )
    expect(wrong).toEqual([])
  })

  test('every service has its folder in dapr-config, and no folder is left over', () => {
    const folders = globSync('dapr-config/*/', { cwd: root }).map((folder) => folder.split('/')[1])
    expect(folders.toSorted()).toEqual([...serviceNames].toSorted())
    const programs = globSync('services/*/main.ts', { cwd: root }).map((file) => file.split('/')[1])
    expect(programs.toSorted()).toEqual([...serviceNames].toSorted())
  })

  test('components/ holds Component YAML by service and nothing else', () => {
    const files = globSync('components/**/*', { cwd: root, withFileTypes: true }).filter((entry) => entry.isFile())
    expect(files.map(({ name }) => name).filter((name) => !name.endsWith('.yaml'))).toEqual([])
    const folders = globSync('components/*/', { cwd: root }).map((folder) => folder.split('/')[1]!)
    expect(folders.filter((name) => name !== 'shared' && !(serviceNames as readonly string[]).includes(name))).toEqual(
      [],
    )
  })

  test.each(['components', 'dapr-config'])('%s/kustomization.yaml names every file, for Kubernetes', (folder) => {
    const files = globSync(`${folder}/*/*.yaml`, { cwd: root }).concat(globSync(`${folder}/*.yaml`, { cwd: root }))
    const named = parse(read(`${folder}/kustomization.yaml`)).resources.map((file: string) => `${folder}/${file}`)
    expect(named.toSorted()).toEqual(files.filter((file) => !file.endsWith('/kustomization.yaml')).toSorted())
  })

  test("what stands in a service's folder is scoped to that service alone", () => {
    const own = [...documents('components/*/*.yaml'), ...documents('dapr-config/*/*.yaml')].filter(
      ({ file, resource }) => !file.startsWith('components/shared/') && resource.kind !== 'Configuration',
    )
    expect(own.length).toBeGreaterThan(10)
    const wrong = own.filter(({ file, resource }) => resource.scopes?.join() !== file.split('/')[1])
    expect(wrong.map(({ file, resource }) => `${file}: scopes ${JSON.stringify(resource.scopes)}`)).toEqual([])
  })

  test('shared resources name in their scopes only services that exist', () => {
    const shared = [...documents('components/shared/*.yaml'), ...documents('dapr-config/*.yaml')]
    const unknown = shared.flatMap(({ file, resource }) =>
      (resource.scopes ?? []).filter((scope) => !isService(scope)).map((scope) => `${file} names ${scope}`),
    )
    expect(unknown).toEqual([])
  })

  test('the broker is in the scope of every service that subscribes, for its own topics and dead letters', () => {
    const [kafka] = documents('components/shared/kafka.yaml')
    const subscribers = serviceNames.filter((name) => services[name].subscribes.length > 0).toSorted()
    expect(kafka?.resource.scopes?.toSorted()).toEqual(subscribers)
    // `a=x,y;b=z`, as Dapr reads it.
    const topicsBy = (setting: string) =>
      kafka?.resource.spec?.metadata
        ?.find(({ name }) => name === setting)
        ?.value?.split(';')
        .toSorted()
    const expected = (topicsOf: (name: ServiceName) => string[]) =>
      subscribers.map((name) => `${name}=${topicsOf(name).toSorted().join(',')}`)
    expect(topicsBy('subscriptionScopes')).toEqual(expected((name) => services[name].subscribes))
    expect(topicsBy('publishingScopes')).toEqual(expected((name) => services[name].deadLetterTopics))
  })

  const policies = documents('dapr-config/*/access.yaml').flatMap(({ file, resource }) =>
    (resource.spec?.accessControl?.policies ?? []).map((policy) => ({ file, callee: file.split('/')[1], ...policy })),
  )

  test('access control names only services that exist', () => {
    expect(policies.length).toBeGreaterThan(5)
    const unknown = policies.filter(({ appId }) => !isService(appId))
    expect(unknown.map(({ file, appId }) => `${file} names ${appId}`)).toEqual([])
  })

  test('access control allows every call that a service makes', () => {
    const calls = serviceNames.flatMap(callsOf)
    expect(calls.length).toBeGreaterThan(15)
    const denied = calls.filter(
      ({ caller, callee, method }) =>
        !policies.some(
          (policy) =>
            policy.callee === callee &&
            policy.appId === caller &&
            policy.operations.some(({ name }) => name === method || name === method.replace(/[^/]+$/, '*')),
        ),
    )
    expect(denied).toEqual([])
  })

  const isService = (name: string) => (serviceNames as readonly string[]).includes(name)

  /**
   * The RPCs of other services that appear in a service's code, by its clients and their protos.
   */
  function callsOf(caller: string) {
    const source = globSync(`services/${caller}/**/*.ts`, { cwd: root })
      .filter((file) => !isTest(file))
      .map(read)
      .join('\n')
    const callees = [...source.matchAll(/client\(\w+Service, '(\w+)'\)/g)].map(([, callee]) => callee!)
    return callees.flatMap((callee) => {
      const proto = read(globSync(`protos/shop/${callee}/v1/${callee}.proto`, { cwd: root })[0]!)
      const service = `${/^package (.*);$/m.exec(proto)![1]}.${/^service (\w+)/m.exec(proto)![1]}`
      return [...proto.matchAll(/^ {2}rpc (\w+)\(/gm)]
        .map(([, rpc]) => rpc!)
        .filter((rpc) => source.includes(`${callee}.${rpc[0]!.toLowerCase()}${rpc.slice(1)}(`))
        .map((rpc) => ({ caller, callee, method: `/${service}/${rpc}` }))
    })
  }
})

/** Generated code, other people's protos, and data. */
const untouched = /^protos\/(gen|dapr|google)\/|^bench\/results\/|^package-lock\.json$|\.csv$|\.svg$/

test('no line of code is over 120 columns, and no comment over 100', () => {
  const files = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], {
    cwd: root,
    encoding: 'utf8',
  })
    .split('\n')
    .filter((file) => /\.(ts|js|go|proto|ya?ml|css|html|sh)$/.test(file) && !untouched.test(file))
    .filter((file) => existsSync(join(root, file)))
  expect(files.length).toBeGreaterThan(300)
  const long = files.flatMap((file) =>
    read(file)
      .split('\n')
      .flatMap((line, i) => {
        const isComment = /^\s*(\/\/|\*|\/\*|#)/.test(line)
        // A link cannot be broken.
        const most = isComment ? (/https?:\/\//.test(line) ? Infinity : 100) : 120
        return line.length > most ? [`${file}:${i + 1}: ${line.length} columns`] : []
      }),
  )
  expect(long).toEqual([])
})
