// What the YAML alone does not guard: that k8s/ fits the list of services, the images, the secrets.
import { globSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { randomUUID } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { parse, parseAllDocuments } from 'yaml'
import { clusterSecrets } from '../platform/processes/cluster-secrets.ts'
import { loadSecrets } from '../platform/processes/secrets.ts'
import { authorizationKey, secretVariables } from '../platform/processes/service-secret.ts'
import { namespace, serviceNames, services, type ServiceName } from '../platform/processes/services.ts'

const folder = import.meta.dirname
const read = (file: string) => readFileSync(join(folder, file), 'utf8')

type EnvVar = { name: string; value?: string; valueFrom?: { secretKeyRef?: { name: string; key: string } } }
type Container = {
  name: string
  image: string
  ports?: { name: string; containerPort: number }[]
  env?: EnvVar[]
  startupProbe?: { httpGet: { port: string } }
}
type Resource = {
  kind: string
  metadata: { name: string; labels: Record<string, string> }
  spec: {
    template: {
      metadata: { annotations: Record<string, string> }
      spec: { containers: Container[]; initContainers?: Container[]; terminationGracePeriodSeconds?: number }
    }
    headers?: { secretKeyRef: { name: string; key: string } }[]
  }
}

type Generated = { configMapGenerator: [{ files: string[] }] }
type Source = { configMap: { items?: { path: string }[] } }

const documents = (file: string) => parseAllDocuments(read(file)).map((document) => document.toJS() as Resource)
const kustomization = parse(read('base/kustomization.yaml')) as {
  namespace: string
  resources: string[]
  configMapGenerator: { literals: string[] }[]
}
const settings = Object.fromEntries(
  kustomization.configMapGenerator.flatMap(({ literals }) => literals.map((literal) => literal.split('='))),
) as Record<string, string>

function service(name: ServiceName) {
  const found = documents(`base/${name}.yaml`)
  const of = (kind: string) => found.find((resource) => resource.kind === kind && resource.metadata.name === name)
  const deployment = of('Deployment')!
  const { metadata, spec } = deployment.spec.template
  return { found, of, deployment, annotations: metadata.annotations, container: spec.containers[0]! }
}

test('k8s/base has every service, and the namespace that its policies name', () => {
  const files = kustomization.resources.map((resource) => resource.replace(/\.yaml$/, ''))
  expect(files.filter((name) => !name.startsWith('..') && name !== 'namespace')).toEqual(serviceNames)
  expect(kustomization.namespace).toBe(namespace)
})

describe.each(serviceNames)('%s', (name) => {
  const { of, deployment, annotations, container } = service(name)

  test('has all that a service has', () => {
    const kinds = ['Deployment', 'Service', 'ServiceAccount', 'PodDisruptionBudget', 'HorizontalPodAutoscaler']
    expect(kinds.filter((kind) => !of(kind))).toEqual([])
  })

  test('is known to Dapr by its own name, and reads its own Configuration and tokens', () => {
    expect(annotations).toMatchObject({
      'dapr.io/app-id': name,
      'dapr.io/config': name,
      'dapr.io/app-protocol': services[name].protocol,
      'dapr.io/api-token-secret': `${name}-api-token`,
      'dapr.io/app-token-secret': `${name}-app-token`,
    })
    expect(container).toMatchObject({ name, image: `sidecart/${name}` })
    const from = Object.fromEntries((container.env ?? []).map(({ name, valueFrom }) => [name, valueFrom?.secretKeyRef]))
    expect(from).toMatchObject({
      DAPR_API_TOKEN: { name: `${name}-api-token`, key: 'token' },
      APP_API_TOKEN: { name: `${name}-app-token`, key: 'token' },
    })
  })

  test('listens where its sidecar, its Service and its probes ask', () => {
    const own = container.env?.find(({ name }) => name === 'APP_PORT')?.value
    expect(annotations['dapr.io/app-port']).toBe(own ?? settings['APP_PORT'])
    const ports = Object.fromEntries((container.ports ?? []).map(({ name, containerPort }) => [name, containerPort]))
    expect(ports['admin']).toBe(Number(settings['ADMIN_PORT']))
    if (ports['http'] !== undefined) expect(String(ports['http'])).toBe(own)
  })

  test('has the pluggable components that its Components need, by labels', () => {
    const labels = Object.keys(deployment.metadata.labels).filter((label) => label.startsWith('sidecart/'))
    expect(labels.toSorted()).toEqual(services[name].components.map((type) => `sidecart/${type}`).toSorted())
  })

  test('gets its own secrets as variables, and no others', () => {
    const refs = (container.env ?? []).flatMap(({ name: variable, valueFrom }) =>
      valueFrom?.secretKeyRef?.name === name ? [[variable, valueFrom.secretKeyRef.key]] : [],
    )
    expect(Object.fromEntries(refs)).toEqual(secretVariables(name))
  })

  test("its HTTPEndpoints send the secret that its sidecar's has for them", () => {
    for (const endpoint of services[name].httpEndpoints) {
      const resource = service(name).found.find(
        ({ kind, metadata }) => kind === 'HTTPEndpoint' && metadata.name === endpoint.name,
      )
      expect(resource?.spec.headers?.[0]?.secretKeyRef).toEqual(
        endpoint.bearerSecret && { name, key: authorizationKey(endpoint) },
      )
    }
  })
})

const pluggable = ['outbox-mysql', 'outbox-mongodb', 'bindings-mongodb'] as const
const componentContainer = (type: string) =>
  documents(`base/pods/${type}.yaml`)[0]!.spec.template.spec.initContainers![0]!

test('pluggable components in one pod have different ports, and are probed on their own', () => {
  for (const name of serviceNames) {
    const containers = services[name].components.map(componentContainer)
    const ports = containers.map(({ env }) => env?.find(({ name }) => name === 'METRICS_PORT')?.value)
    expect(ports).toEqual(containers.map(({ ports }) => String(ports?.[0]?.containerPort)))
    expect(new Set(ports).size).toBe(ports.length)
    for (const { startupProbe, ports } of containers) expect(startupProbe?.httpGet.port).toBe(ports?.[0]?.name)
  }
})

test('each pluggable component is in the pods that have its label', () => {
  expect([...new Set(serviceNames.flatMap((name) => services[name].components))].toSorted()).toEqual(
    [...pluggable].toSorted(),
  )
  const { patches } = parse(read('base/kustomization.yaml')) as {
    patches: { path?: string; target: { labelSelector?: string } }[]
  }
  for (const type of pluggable) {
    const patch = patches.find(({ path }) => path === `pods/${type}.yaml`)
    expect(patch?.target.labelSelector).toBe(`sidecart/${type}`)
    expect(componentContainer(type).image).toBe(`sidecart/${type}`)
  }
})

test('a pod may take as long to end as its service and its sidecar together', () => {
  const { metadata, spec } = documents('base/pods/every-pod.yaml')[0]!.spec.template
  const preStop = Number(/sleep: \{ seconds: (\d+) \}/.exec(read('base/pods/every-service.yaml'))?.[1])
  // lib/lifecycle.ts ends a program at the latest 10 s after SIGTERM.
  const service = preStop + 10
  const sidecar = Number(metadata.annotations['dapr.io/graceful-shutdown-seconds'])
  expect(spec.terminationGracePeriodSeconds).toBeGreaterThanOrEqual(service + sidecar + 10)
})

const yaml = globSync('{base,components,overlays,policies}/**/*.yaml', { cwd: folder })

test('every image of the shop has a target in images/Containerfile', () => {
  const targets = new Set(
    [...readFileSync(join(folder, '..', 'images', 'Containerfile'), 'utf8').matchAll(/^FROM \S+ AS (\S+)$/gm)].map(
      ([, target]) => target,
    ),
  )
  const images = new Set(yaml.flatMap((file) => [...read(file).matchAll(/image: sidecart\/(\S+)/g)].map(([, n]) => n)))
  expect(images.size).toBeGreaterThan(9)
  // A canary's image is another version of the service's.
  expect([...images].filter((name) => !targets.has(name!.replace(/-(canary|blue|green)$/, '')))).toEqual([])
})

test('the edge and its canary have every file that nginx.conf includes', () => {
  const conf = readFileSync(join(folder, '..', 'edge', 'nginx.conf'), 'utf8')
  const included = [...conf.matchAll(/include place\/(\S+);/g)].map(([, file]) => file!)
  expect(included.length).toBeGreaterThan(4)
  const { configMapGenerator } = parse(read('components/edge/kustomization.yaml')) as Generated
  expect(configMapGenerator[0].files.map((file) => file.replace('place/', '')).toSorted()).toEqual(included.toSorted())

  const canary = parse(read('components/canary/edge/kustomization.yaml')) as Generated & {
    patches: { patch: string }[]
  }
  const [volume] = parse(canary.patches[0]!.patch) as [{ value: { projected: { sources: Source[] } } }]
  const items = volume.value.projected.sources.flatMap(({ configMap }) => configMap.items ?? [])
  const files = [...items.map(({ path }) => path), ...canary.configMapGenerator[0].files]
  expect(files.toSorted()).toEqual(included.toSorted())
})

test('every secret that the overlays for one cluster name is made by k8s/secrets.ts', () => {
  const made = clusterSecrets(loadSecrets(join(tmpdir(), randomUUID(), 'secrets.json')))
  const keys = new Map(made.map(({ metadata, stringData }) => [metadata.name, Object.keys(stringData)]))
  const text = [
    ...globSync('{base,components/servers,components/setup}/**/*.yaml', { cwd: folder }).map(read),
    ...globSync('../components/*/*.yaml', { cwd: folder }).map(read),
  ].join('\n')
  const refs = [...text.matchAll(/secretKeyRef: \{ name: ([\w-]+), key: ([\w.-]+) \}/g)]
  expect(refs.length).toBeGreaterThan(20)
  expect(refs.filter(([, name, key]) => !keys.get(name!)?.includes(key!)).map(([ref]) => ref)).toEqual([])
  const mounted = [...text.matchAll(/secretName: ([\w-]+)/g)].map(([, name]) => name!)
  expect(mounted.length).toBeGreaterThan(2)
  expect(mounted.filter((name) => !keys.has(name))).toEqual([])
  expect(text).not.toMatch(/kind: Secret$/m)
})

test('no two secrets of a cluster have the same name, and a second run makes the same', () => {
  const file = join(tmpdir(), randomUUID(), 'secrets.json')
  const first = clusterSecrets(loadSecrets(file))
  const names = first.map(({ metadata }) => metadata.name)
  expect(new Set(names).size).toBe(names.length)
  expect(clusterSecrets(loadSecrets(file))).toEqual(first)
})
