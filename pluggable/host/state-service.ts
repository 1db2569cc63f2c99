import type { Server, UntypedServiceImplementation } from '@grpc/grpc-js'
import {
  StateOptions_StateConcurrency as Concurrency,
  StateStoreService,
  TransactionalStateStoreService,
  TransactionalStoreMultiMaxSizeService,
  type DeleteRequest,
  type SetRequest,
  type StateStoreServer,
  type TransactionalStateStoreServer,
  type TransactionalStoreMultiMaxSizeServer,
} from '#protos/dapr/proto/components/v1/state.ts'
import { ComponentError, toComponentError } from './errors.ts'
import type { Instances } from './instances.ts'
import { addReflection } from './reflection.ts'
import type { DeleteOperation, Operation, SetOperation, StateStore, StoredValue } from './state-store.ts'
import type { Unary } from './unary.ts'

const ttlPattern = /^-?\d{1,10}$/

/**
 * The time to live that a request asks for; 0 and -1 mean none, as in Dapr's stores. Throws
 * INVALID_REQUEST.
 */
export function ttlSeconds(metadata: Record<string, string>): number | undefined {
  const text = metadata['ttlInSeconds']
  if (text === undefined || text === '') return undefined
  const seconds = Number(text)
  if (!ttlPattern.test(text) || seconds < -1 || seconds > 2_147_483_647) {
    throw new ComponentError('INVALID_REQUEST', `ttlInSeconds: "${text}" is not a number of seconds`)
  }
  return seconds > 0 ? seconds : undefined
}

function requireKey(key: string): string {
  if (key === '') throw new ComponentError('INVALID_REQUEST', 'key: missing')
  if (Buffer.byteLength(key) > 1_024) throw new ComponentError('INVALID_REQUEST', 'key: longer than 1024 bytes')
  return key
}

/** A Set request in the store's terms. An empty etag counts as none, as in Dapr's stores. */
export function toSet(request: SetRequest): SetOperation {
  const ttl = ttlSeconds(request.metadata)
  return {
    kind: 'set',
    key: requireKey(request.key),
    value: Buffer.from(request.value.buffer, request.value.byteOffset, request.value.byteLength),
    firstWrite: request.options?.concurrency === Concurrency.CONCURRENCY_FIRST_WRITE,
    // daprd has a field for it too, which its HTTP API fills.
    metadata: request.contentType ? { ...request.metadata, contentType: request.contentType } : request.metadata,
    ...(request.etag?.value ? { etag: request.etag.value } : {}),
    ...(ttl === undefined ? {} : { ttlSeconds: ttl }),
  }
}

export function toDelete(request: DeleteRequest): DeleteOperation {
  return {
    kind: 'delete',
    key: requireKey(request.key),
    metadata: request.metadata,
    ...(request.etag?.value ? { etag: request.etag.value } : {}),
  }
}

/** The name under which Dapr's API hands a value's end of life to the application. */
const expiryMetadata = (stored: StoredValue): Record<string, string> =>
  stored.expiresAt ? { ttlExpireTime: stored.expiresAt.toISOString().replace(/\.\d{3}Z$/, 'Z') } : {}

/** Adds the services of a state store to the server, and tells daprd of them by reflection. */
export function addStateServices(server: Server, instances: Instances<StateStore>, unary: Unary): void {
  const onStore = <Request, Response>(
    rpc: string,
    handle: (store: StateStore, request: Request) => Promise<Response>,
  ) => unary<Request, Response>(rpc, async (request, instance) => handle(await instances.get(instance), request))

  const store: StateStoreServer = {
    init: unary('Init', async (request, instance) => {
      await instances.init(instance, request.metadata?.properties ?? {})
      return {}
    }),
    features: onStore('Features', async (each) => ({ features: [...each.features] })),
    ping: unary('Ping', async () => ({})),
    get: onStore('Get', async (each, request) => {
      const stored = await each.get(requireKey(request.key))
      if (!stored) return { data: new Uint8Array(), etag: undefined, metadata: {}, contentType: '' }
      return { data: stored.value, etag: { value: stored.etag }, metadata: expiryMetadata(stored), contentType: '' }
    }),
    set: onStore('Set', async (each, request) => {
      await each.set(toSet(request))
      return {}
    }),
    delete: onStore('Delete', async (each, request) => {
      await each.delete(toDelete(request))
      return {}
    }),
    bulkGet: onStore('BulkGet', async (each, request) => {
      const found = await each.bulkGet([...new Set(request.items.map((item) => requireKey(item.key)))])
      return {
        items: request.items.map(({ key }) => {
          const stored = found.get(key)
          if (!stored) return { key, data: new Uint8Array(), etag: undefined, error: '', metadata: {}, contentType: '' }
          return {
            key,
            data: stored.value,
            etag: { value: stored.etag },
            error: '',
            metadata: expiryMetadata(stored),
            contentType: '',
          }
        }),
      }
    }),
    // As in Dapr's own stores the items of a bulk write are independent: one that fails does not
    // undo the others.
    bulkSet: onStore('BulkSet', async (each, request) => {
      await oneByOne(request.items.map(toSet), (operation) => each.set(operation))
      return {}
    }),
    bulkDelete: onStore('BulkDelete', async (each, request) => {
      await oneByOne(request.items.map(toDelete), (operation) => each.delete(operation))
      return {}
    }),
  }

  const transactional: TransactionalStateStoreServer = {
    transact: onStore('Transact', async (each, request) => {
      const operations = request.operations.flatMap(({ request: operation }): Operation[] => {
        if (!operation) return []
        return [operation.$case === 'set' ? toSet(operation.value) : toDelete(operation.value)]
      })
      await each.transact(operations, request.metadata)
      return {}
    }),
  }

  const multiMaxSize: TransactionalStoreMultiMaxSizeServer = {
    multiMaxSize: unary('MultiMaxSize', async () => ({ maxSize: -1 })),
  }

  server.addService(StateStoreService, store as unknown as UntypedServiceImplementation)
  server.addService(TransactionalStateStoreService, transactional as unknown as UntypedServiceImplementation)
  server.addService(TransactionalStoreMultiMaxSizeService, multiMaxSize as unknown as UntypedServiceImplementation)
  addReflection(server, 'state.proto', [
    'dapr.proto.components.v1.StateStore',
    'dapr.proto.components.v1.TransactionalStateStore',
    'dapr.proto.components.v1.TransactionalStoreMultiMaxSize',
  ])
}

/**
 * Dapr's answer to a bulk write has room for one error, and a gRPC error for a few kilobytes of
 * text.
 */
const longestMessage = 2_000

/**
 * Runs all, then throws what went wrong: etag conflicts as one error that names their keys,
 * anything else before them. Where the database does not answer it stops: each further item would
 * only keep the caller waiting as long once more.
 */
async function oneByOne<T>(items: T[], run: (item: T) => Promise<void>): Promise<void> {
  const failures: ComponentError[] = []
  for (const item of items) {
    await run(item).catch((error: unknown) => failures.push(toComponentError(error)))
    const code = failures.at(-1)?.code
    if (code === 'STORE_UNAVAILABLE' || code === 'COMMIT_UNKNOWN') break
  }
  const worse = failures.find(({ code }) => code !== 'ETAG_MISMATCH')
  if (worse) throw worse
  if (failures.length > 0)
    throw new ComponentError(
      'ETAG_MISMATCH',
      failures
        .map(({ message }) => message)
        .join('; ')
        .slice(0, longestMessage),
    )
}
