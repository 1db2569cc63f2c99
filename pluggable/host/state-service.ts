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
import type { Components } from './components.ts'
import { addReflection } from './reflection.ts'
import type { DeleteOperation, Operation, SetOperation, StateStore, StoredValue } from './state-store.ts'
import type { Unary } from './unary.ts'

const ttlPattern = /^-?\d{1,10}$/

/**
 * Returns the time to live in seconds that a request asks for, or undefined; 0 and -1 mean none, as
 * in Dapr's stores. Throws INVALID_REQUEST.
 */
export function ttlSeconds(metadata: Record<string, string>): number | undefined {
  const text = metadata['ttlInSeconds']
  if (text === undefined || text === '') return undefined
  const seconds = Number(text)
  if (!ttlPattern.test(text) || seconds < -1 || seconds > 2_147_483_647) {
    throw new ComponentError('INVALID_REQUEST', `ttlInSeconds: must be -1 to 2147483647, not "${text}"`)
  }
  return seconds > 0 ? seconds : undefined
}

function requireKey(key: string): string {
  if (key === '') throw new ComponentError('INVALID_REQUEST', 'key: is required')
  if (Buffer.byteLength(key) > 1_024) throw new ComponentError('INVALID_REQUEST', 'key: must be 1 to 1024 bytes')
  return key
}

/** Maps a Set request. An empty etag counts as none, as in Dapr's stores. */
export function toSet(request: SetRequest): SetOperation {
  const ttl = ttlSeconds(request.metadata)
  return {
    kind: 'set',
    key: requireKey(request.key),
    value: Buffer.from(request.value.buffer, request.value.byteOffset, request.value.byteLength),
    firstWrite: request.options?.concurrency === Concurrency.CONCURRENCY_FIRST_WRITE,
    // daprd's HTTP API sends the content type in a field of its own.
    metadata: request.contentType ? { ...request.metadata, contentType: request.contentType } : request.metadata,
    ...(request.etag?.value ? { etag: request.etag.value } : {}),
    ...(ttl === undefined ? {} : { ttlSeconds: ttl }),
  }
}

/** Maps a Delete request. An empty etag counts as none. */
export function toDelete(request: DeleteRequest): DeleteOperation {
  return {
    kind: 'delete',
    key: requireKey(request.key),
    metadata: request.metadata,
    ...(request.etag?.value ? { etag: request.etag.value } : {}),
  }
}

/** The metadata by which Dapr's API tells the application when a value expires. */
const expiryMetadata = (stored: StoredValue): Record<string, string> =>
  stored.expiresAt ? { ttlExpireTime: stored.expiresAt.toISOString().replace(/\.\d{3}Z$/, 'Z') } : {}

/** Adds the services of a state store to the server and announces them to daprd by reflection. */
export function addStateServices(server: Server, components: Components<StateStore>, unary: Unary): void {
  const onStore = <Request, Response>(
    rpc: string,
    handle: (store: StateStore, request: Request) => Promise<Response>,
  ) => unary<Request, Response>(rpc, async (request, component) => handle(await components.get(component), request))

  const store: StateStoreServer = {
    init: unary('Init', async (request, component) => {
      await components.init(component, request.metadata?.properties ?? {})
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
    // As in Dapr's own stores the items of a bulk write are independent: a failed one does not undo
    // the others.
    bulkSet: onStore('BulkSet', async (each, request) => {
      await runEach(request.items.map(toSet), (operation) => each.set(operation))
      return {}
    }),
    bulkDelete: onStore('BulkDelete', async (each, request) => {
      await runEach(request.items.map(toDelete), (operation) => each.delete(operation))
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

/** The response to a bulk write has room for one error, and a gRPC error for a few kilobytes. */
const maxMessageLength = 2_000

/**
 * Runs all items one at a time, then throws what failed: any other error before etag conflicts,
 * which become one error that names their keys. Stops when the database does not respond, since
 * each further item would keep the caller waiting as long again.
 */
async function runEach<T>(items: T[], run: (item: T) => Promise<void>): Promise<void> {
  const failures: ComponentError[] = []
  for (const item of items) {
    await run(item).catch((error: unknown) => failures.push(toComponentError(error)))
    const code = failures.at(-1)?.code
    if (code === 'STORE_UNAVAILABLE' || code === 'COMMIT_UNKNOWN') break
  }
  const other = failures.find(({ code }) => code !== 'ETAG_MISMATCH')
  if (other) throw other
  if (failures.length > 0)
    throw new ComponentError(
      'ETAG_MISMATCH',
      failures
        .map(({ message }) => message)
        .join('; ')
        .slice(0, maxMessageLength),
    )
}
