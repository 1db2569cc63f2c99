import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Client, credentials, Metadata, status, type ServiceError } from '@grpc/grpc-js'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { parseAllDocuments } from 'yaml'
import { fromGrpcError } from '../lib/errors.ts'
import { root } from '../platform/processes/paths.ts'
import { deadLetterTopics, serviceNames, services, topics, type ServiceName } from '../platform/processes/services.ts'
import { attachShop, type Shop } from '../platform/start/shop.ts'
import { DaprService } from '../protos/gen/dapr/proto/runtime/v1/dapr.ts'
import { CatalogServiceService } from '../protos/gen/shop/catalog/v1/catalog.ts'
import { InventoryServiceService } from '../protos/gen/shop/inventory/v1/inventory.ts'
import { OrdersServiceService } from '../protos/gen/shop/orders/v1/orders.ts'
import { PaymentsServiceService } from '../protos/gen/shop/payments/v1/payments.ts'
import { SearchServiceService } from '../protos/gen/shop/search/v1/search.ts'
import { UsersServiceService } from '../protos/gen/shop/users/v1/users.ts'

// Least privilege, on running sidecars: each service tries everything as itself, with the token of
// its own sidecar. What the YAML allows must work, and all else be refused.

const contracts = {
  users: UsersServiceService,
  catalog: CatalogServiceService,
  inventory: InventoryServiceService,
  orders: OrdersServiceService,
  payments: PaymentsServiceService,
  search: SearchServiceService,
} satisfies Partial<Record<ServiceName, object>>
type Callee = keyof typeof contracts
const callees = Object.keys(contracts) as Callee[]
const methodsOf = (callee: Callee) => Object.values(contracts[callee]).map(({ path }) => path as string)

type Resource = {
  kind: string
  metadata: { name: string }
  scopes?: string[]
  spec: { type?: string; accessControl?: { policies: { appId: string; operations: { name: string }[] }[] } }
}
const resources = (pattern: string) =>
  globSync(pattern, { cwd: root }).flatMap((file) =>
    parseAllDocuments(readFileSync(join(root, file), 'utf8')).map((document) => document.toJS() as Resource),
  )
const components = resources('components/*/*.yaml').filter(({ kind }) => kind === 'Component')
const configurations = resources('dapr-config/*/access.yaml')

/** Whether the callee's access policy lets a caller call a method. */
const isAllowed = (caller: ServiceName, callee: Callee, method: string): boolean =>
  configurations
    .find(({ metadata }) => metadata.name === callee)!
    .spec.accessControl!.policies.filter(({ appId }) => appId === caller)
    .flatMap(({ operations }) => operations)
    .some(({ name }) => name === method || (name.endsWith('/*') && method.startsWith(name.slice(0, -1))))

let shop: Shop
const channels = new Map<ServiceName, Client>()
beforeAll(async () => {
  shop = await attachShop(inject('shopInstance'))
  for (const name of serviceNames)
    channels.set(name, new Client(`127.0.0.1:${shop.ports.services[name].daprGrpc}`, credentials.createInsecure()))
})
afterAll(() => {
  for (const channel of channels.values()) channel.close()
})

/** Calls a gRPC method through a service's sidecar, with an empty message. Returns its error. */
function call(as: ServiceName, method: string, headers: Record<string, string>): Promise<ServiceError | null> {
  const metadata = new Metadata()
  for (const [name, value] of Object.entries(headers)) metadata.set(name, value)
  return new Promise((resolve) => {
    const bytes = (value: Buffer) => value
    const deadline = Date.now() + 10_000
    channels.get(as)!.makeUnaryRequest(method, bytes, bytes, Buffer.alloc(0), metadata, { deadline }, resolve)
  })
}
const tokenOf = (name: ServiceName) => shop.secrets.services[name].daprToken

/** Sends a request to the HTTP API of a service's sidecar, as that service. */
const viaHttp = (as: ServiceName, path: string, init: RequestInit = {}) =>
  fetch(`http://127.0.0.1:${shop.ports.services[as].daprHttp}${path}`, {
    ...init,
    headers: { 'dapr-api-token': tokenOf(as), 'content-type': 'application/json' },
  }).then(async (response) => ({ status: response.status, text: await response.text() }))

/** Whether the callee itself has answered: its errors carry their code. */
const isAnswered = (error: ServiceError | null, callee: string) =>
  error === null || fromGrpcError(error, callee).kind !== 'internal'

describe('calls', () => {
  it.each(serviceNames)('%s may call what the policies allow, and nothing else', async (caller) => {
    const wrong: string[] = []
    let allowed = 0
    for (const callee of callees.filter((name) => name !== caller))
      for (const method of methodsOf(callee)) {
        const error = await call(caller, method, { 'dapr-app-id': callee, 'dapr-api-token': tokenOf(caller) })
        const isRefused = error?.code === status.PERMISSION_DENIED && !isAnswered(error, callee)
        if (isAllowed(caller, callee, method)) {
          allowed += 1
          if (!isAnswered(error, callee)) wrong.push(`${method} is allowed: ${error}`)
        } else if (!isRefused) wrong.push(`${method} is not allowed: ${error}`)
      }
    expect(wrong).toEqual([])
    expect(allowed > 0).toBe(['gateway', 'orders', 'search'].includes(caller))
  })

  it('some pairs are allowed, most are not', () => {
    const pairs = serviceNames.flatMap((caller) =>
      callees.flatMap((callee) => methodsOf(callee).map((method) => isAllowed(caller, callee, method))),
    )
    expect(pairs.filter(Boolean).length).toBeGreaterThan(30)
    expect(pairs.filter((one) => !one).length).toBeGreaterThan(200)
  })
})

describe('tokens', () => {
  it.each(serviceNames)('the sidecar of %s answers nobody without its token', async (name) => {
    const method = CatalogServiceService.getProduct.path
    const other = serviceNames.find((each) => each !== name)!
    for (const token of [undefined, '', 'wrong', tokenOf(other)]) {
      const headers = { 'dapr-app-id': 'catalog', ...(token === undefined ? {} : { 'dapr-api-token': token }) }
      expect(await call(name, method, headers)).toMatchObject({ code: status.UNAUTHENTICATED })
      const { status: http } = await fetch(
        `http://127.0.0.1:${shop.ports.services[name].daprHttp}/v1.0/metadata`,
        token === undefined ? {} : { headers: { 'dapr-api-token': token } },
      )
      expect(http).toBe(401)
    }
  })

  it.each(callees)('the port of %s answers nobody but its sidecar', async (name) => {
    const client = new Client(`127.0.0.1:${shop.ports.services[name].app}`, credentials.createInsecure())
    const bytes = (value: Buffer) => value
    for (const token of [undefined, 'wrong', tokenOf(name)]) {
      const metadata = new Metadata()
      if (token !== undefined) metadata.set('dapr-api-token', token)
      const error = await new Promise<ServiceError | null>((resolve) => {
        client.makeUnaryRequest(methodsOf(name)[0]!, bytes, bytes, Buffer.alloc(0), metadata, resolve)
      })
      expect(error).toMatchObject({ code: status.UNAUTHENTICATED })
    }
    client.close()
  })
})

describe('topics', () => {
  const all = [...topics, ...deadLetterTopics]

  it.each(serviceNames)('%s publishes through its sidecar to nothing but its own dead letters', async (name) => {
    const wrong: string[] = []
    for (const topic of all) {
      if (services[name].deadLetterTopics.includes(topic)) continue
      const { status: http, text } = await viaHttp(name, `/v1.0/publish/kafka/${topic}`, { method: 'POST', body: '{}' })
      // A service that does not subscribe has no broker at all.
      if (http !== (services[name].subscribes.length > 0 ? 403 : 404)) wrong.push(`${topic}: ${http} ${text}`)
    }
    expect(wrong).toEqual([])
  })

  /** Asks for a topic as the service. Returns what its sidecar refuses, undefined if it agrees. */
  async function subscribe(as: ServiceName, topic: string): Promise<ServiceError | undefined> {
    const { path, requestSerialize, responseDeserialize } = DaprService.subscribeTopicEventsAlpha1
    const metadata = new Metadata()
    metadata.set('dapr-api-token', tokenOf(as))
    const stream = channels.get(as)!.makeBidiStreamRequest(path, requestSerialize, responseDeserialize, metadata)
    try {
      const initialRequest = { pubsubName: 'kafka', topic, metadata: {}, deadLetterTopic: undefined }
      stream.write({ subscribeTopicEventsRequestType: { $case: 'initialRequest', value: initialRequest } })
      return await new Promise((resolve) => {
        stream.on('data', () => resolve(undefined))
        stream.on('error', resolve)
      })
    } finally {
      stream.cancel()
    }
  }

  it.each(serviceNames)('%s gets no events of topics that it does not subscribe to', async (name) => {
    const wrong: string[] = []
    for (const topic of all.filter((each) => !services[name].subscribes.includes(each))) {
      const refusal = await subscribe(name, topic)
      if (!/is not allowed|is not found/.test(refusal?.details ?? '')) wrong.push(`${topic}: ${refusal}`)
    }
    expect(wrong).toEqual([])
  })
})

describe('components', () => {
  it.each(serviceNames)('%s reaches its own, and no others', async (name) => {
    const wrong: string[] = []
    for (const { metadata, scopes, spec } of components) {
      const isState = spec.type!.startsWith('state.')
      if (!isState && !spec.type!.startsWith('bindings.')) continue
      const { text } = isState
        ? await viaHttp(name, `/v1.0/state/${metadata.name}/nothing`)
        : await viaHttp(name, `/v1.0/bindings/${metadata.name}`, { method: 'POST', body: '{"operation":"none"}' })
      const isAbsent = /not found|not configured|couldn't find/.test(text)
      if (isAbsent === scopes!.includes(name)) wrong.push(`${metadata.name}: ${text}`)
    }
    expect(wrong).toEqual([])
  })

  it.each(serviceNames)('%s reads its own secrets, and no others', async (name) => {
    const read = async (other: string) => (await viaHttp(name, `/v1.0/secrets/secrets/${other}`)).text
    for (const other of serviceNames.filter((each) => each !== name)) {
      const text = await read(other)
      const { database, named } = shop.secrets.services[other]
      for (const secret of [database, ...Object.values(named)]) expect(text).not.toContain(secret)
    }
    const bulk = (await viaHttp(name, '/v1.0/secrets/secrets/bulk')).text
    const others = serviceNames.filter((each) => each !== name).map((each) => shop.secrets.services[each])
    for (const { database, named, appToken, daprToken } of others)
      for (const secret of [database, appToken, daprToken, ...Object.values(named)]) expect(bulk).not.toContain(secret)
  })

  it.each(serviceNames)('%s calls no HTTP service outside the shop but its own', async (name) => {
    for (const other of serviceNames)
      for (const { name: endpoint } of services[other].httpEndpoints) {
        const { status: http, text } = await viaHttp(name, `/v1.0/invoke/${endpoint}/method/`)
        if (other === name) expect(text).not.toMatch(/ERR_DIRECT_INVOKE/)
        else expect([http, text]).toEqual([500, expect.stringContaining('ERR_DIRECT_INVOKE')])
      }
  })
})
