import { Agent, request as httpRequest, type RequestOptions } from 'node:http'
import { text as readText } from 'node:stream/consumers'
import { setTimeout as delay } from 'node:timers/promises'
import { context, propagation } from '@opentelemetry/api'
import { Client, credentials, Metadata, status, type ServiceError } from '@grpc/grpc-js'
import type * as z from 'zod'
import { StateOptions_StateConcurrency as concurrency, type StateItem } from '#protos/dapr/proto/common/v1/common.ts'
import { DaprService } from '#protos/dapr/proto/runtime/v1/dapr.ts'
import { AppError, fromGrpcError, unavailable } from './errors.ts'
import { activeDeadline, type Definition, type RequestOf, type ResponseOf } from './grpc-server.ts'
import { SpanKind, traceparent, withSpan } from './telemetry.ts'

// A thin client on Dapr's own protos. The JS SDK drops etags and the metadata of a transaction's
// operations, which optimistic locking and events need.

/** A service's RPCs as promises. They throw AppError: the callee's own or `<app>_unavailable`. */
export type RpcClient<D> = {
  [K in keyof D]: D[K] extends Definition[string]
    ? (request: RequestOf<D[K]>, options?: CallOptions) => Promise<ResponseOf<D[K]>>
    : never
}
/**
 * A call ends after `timeoutMs` (default: 2,000), or when the caller of the RPC being handled gives
 * up, whichever comes first.
 */
export type CallOptions = { timeoutMs?: number }

export type Versioned<T> = { value: T; etag: string }

/**
 * `firstWrite`: the key must not exist yet. `etag`: it must still have this version. With neither,
 * the last write wins.
 */
export type WriteOptions = { etag?: string; firstWrite?: boolean; ttlSeconds?: number }

export type Operation =
  | ({ upsert: string; value: unknown } & WriteOptions)
  | { delete: string; etag?: string }
  /**
   * An event, published after the transaction has committed, in order with the other events of
   * `key` (docs/events.md). `topic` (default: the store's) and `traceparent` (default: the active
   * trace) are this event's own.
   */
  | {
      event: {
        type: string
        data: unknown
        key: string
        subject?: string
        id?: string
        topic?: string
        traceparent?: string
      }
    }

export type Dapr = ReturnType<typeof createDapr>
export type StateStore = ReturnType<Dapr['state']>

const defaultTimeoutMs = 2_000

/**
 * How long a call that its callee never got is repeated. A pod that ends refuses calls for some
 * 10 ms, until its sidecar ends too and the callers' sidecars turn to another pod.
 */
const undeliveredMs = 1_000
const undeliveredPauseMs = 50

/**
 * Whether a callee's sidecar, or its pod, refused the connection: then the call was not begun, and
 * repeating it is safe whatever it does. Go's words, which daprd passes on.
 */
const isUndelivered = ({ code, details }: ServiceError): boolean =>
  code === status.UNAVAILABLE && details.includes('connect: connection refused')

async function delivered<T>(attempt: () => Promise<T>): Promise<T> {
  const giveUpAt = Date.now() + undeliveredMs
  for (;;) {
    try {
      return await attempt()
    } catch (error) {
      if (!isUndelivered(error as ServiceError) || Date.now() > giveUpAt) throw error
      await delay(undeliveredPauseMs)
    }
  }
}

/** Creates the one connection to this service's own sidecar. It reconnects by itself. */
export function createDapr(options: { grpcPort: number; httpPort: number; apiToken: string }) {
  const { grpcPort, httpPort, apiToken } = options
  const channel = new Client(`127.0.0.1:${grpcPort}`, credentials.createInsecure(), {
    'grpc.max_receive_message_length': 4 * 1024 * 1024,
    // A sidecar restarts within a second or two, far below grpc-js' default ceiling of 120 s.
    'grpc.initial_reconnect_backoff_ms': 100,
    'grpc.max_reconnect_backoff_ms': 1_000,
    // Nothing reads these statistics.
    'grpc.enable_channelz': 0,
  })

  const agent = new Agent({ keepAlive: true })

  const deadlineOf = (call: CallOptions = {}) =>
    Math.min(Date.now() + (call.timeoutMs ?? defaultTimeoutMs), activeDeadline())

  function unary<M extends Definition[string]>(
    method: M,
    request: RequestOf<M>,
    headers: Record<string, string>,
    call?: CallOptions,
  ): Promise<ResponseOf<M>> {
    return withSpan(
      method.path.slice(1),
      { kind: SpanKind.CLIENT, attributes: { 'rpc.system': 'grpc', 'rpc.method': method.path } },
      () =>
        new Promise((resolve, reject) => {
          const metadata = new Metadata()
          metadata.set('dapr-api-token', apiToken)
          const parent = traceparent()
          if (parent) metadata.set('traceparent', parent)
          for (const [name, value] of Object.entries(headers)) metadata.set(name, value)
          channel.makeUnaryRequest(
            method.path,
            method.requestSerialize as (v: unknown) => Buffer,
            method.responseDeserialize as (b: Buffer) => ResponseOf<M>,
            request,
            metadata,
            { deadline: deadlineOf(call) },
            (error: ServiceError | null, response?: ResponseOf<M>) =>
              error ? reject(error) : resolve(response as ResponseOf<M>),
          )
        }),
    )
  }

  return {
    close() {
      channel.close()
      agent.destroy()
    },

    /**
     * Returns the RPCs of another app, called through both sidecars (gRPC proxying). While no
     * instance of it listens, a call waits for up to 1 s.
     */
    client<D>(definition: D, appId: string): RpcClient<D> {
      const methods = Object.entries(definition as Definition).map(([name, method]) => [
        name,
        (request: unknown, call?: CallOptions) =>
          delivered(() => unary(method, request, { 'dapr-app-id': appId }, call)).catch((error) => {
            throw fromGrpcError(error, appId)
          }),
      ])
      return Object.fromEntries(methods) as RpcClient<D>
    },

    /**
     * Returns a state store. Its calls throw AppError `etag_mismatch` (conflict), `event_too_large`
     * (rejected), `commit_unknown` or `store_unavailable` (both unavailable).
     */
    state(storeName: string) {
      const fail = (error: ServiceError): never => {
        throw stateError(error, storeName)
      }

      /** Returns many keys' values as stored; keys that do not exist are left out. */
      async function bulkText(keys: string[]): Promise<Map<string, { text: string; etag: string }>> {
        const found = new Map<string, { text: string; etag: string }>()
        if (keys.length === 0) return found
        const request = { storeName, keys, parallelism: 10, metadata: traceMetadata() }
        const response = await unary(DaprService.getBulkState, request, {}).catch((error: ServiceError) => {
          // The response would exceed a message's 4 MiB: half as many keys may fit.
          if (keys.length === 1 || !/larger than max/.test(error.details)) return fail(error)
          return undefined
        })
        if (!response) {
          const middle = keys.length >> 1
          const halves = await Promise.all([bulkText(keys.slice(0, middle)), bulkText(keys.slice(middle))])
          return new Map(halves.flatMap((half) => [...half]))
        }
        const { items } = response
        for (const { key, data, etag, error } of items) {
          if (error) throw unavailable('store_unavailable', `${storeName} is not available right now`, new Error(error))
          if (data.length > 0) found.set(key, { text: textOf(data), etag })
        }
        return found
      }

      return {
        /** Returns one key's value, parsed, with its etag; undefined if the key does not exist. */
        async get<T>(key: string, schema: z.ZodType<T>): Promise<Versioned<T> | undefined> {
          const { data, etag } = await unary(
            DaprService.getState,
            { storeName, key, consistency: 0, metadata: traceMetadata() },
            {},
          ).catch(fail)
          return data.length === 0 ? undefined : { value: schema.parse(parseJson(data)), etag }
        },
        /** Returns many keys' values; keys that do not exist are left out. */
        async bulkGet<T>(keys: string[], schema: z.ZodType<T>): Promise<Map<string, Versioned<T>>> {
          const found = new Map<string, Versioned<T>>()
          for (const [key, { text, etag }] of await bulkText(keys))
            found.set(key, { value: schema.parse(JSON.parse(text)), etag })
          return found
        },
        bulkText,
        /** Writes one key. Publishes nothing. */
        async set(key: string, value: unknown, write: WriteOptions = {}): Promise<void> {
          const item = stateItem(key, value, write)
          await unary(
            DaprService.saveState,
            { storeName, states: [{ ...item, metadata: { ...item.metadata, ...traceMetadata() } }] },
            {},
          ).catch(fail)
        },
        /** Deletes one key; one that does not exist is no error. Publishes nothing. */
        async delete(key: string, etag?: string): Promise<void> {
          await unary(
            DaprService.deleteState,
            {
              storeName,
              key,
              etag: etag === undefined ? undefined : { value: etag },
              options: undefined,
              metadata: traceMetadata(),
            },
            {},
          ).catch(fail)
        },
        /**
         * Commits all operations or none: writes, deletes, and events. The events are published
         * after the commit, at least once.
         */
        async transact(operations: Operation[]): Promise<void> {
          await unary(
            DaprService.executeStateTransaction,
            { storeName, operations: operations.map(transactionOperation), metadata: traceMetadata() },
            {},
          ).catch(fail)
        },
      }
    },

    /** Invokes an output binding. Returns its JSON data, or undefined if it sent none. */
    async binding(
      name: string,
      operation: string,
      payload: { data?: unknown; metadata?: Record<string, string> },
      call?: CallOptions,
    ): Promise<unknown> {
      const data = payload.data === undefined ? Buffer.alloc(0) : Buffer.from(JSON.stringify(payload.data))
      const response = await unary(
        DaprService.invokeBinding,
        { name, operation, data, metadata: payload.metadata ?? {} },
        {},
        call,
      ).catch((error: ServiceError) => {
        // daprd turns every error of a binding into INTERNAL. A wrong query of our own shows in the
        // log, as this error's cause.
        throw unavailable('store_unavailable', `${name} is not available right now`, error)
      })
      return response.data.length === 0 ? undefined : parseJson(response.data)
    },

    /**
     * Calls an HTTPEndpoint through the sidecar. Returns whatever HTTP response comes, 5xx
     * included. Throws `unavailable` if none comes: what the endpoint did is then unknown.
     */
    async http(
      endpoint: string,
      path: string,
      init: { method: string; headers?: Record<string, string>; body?: string },
      call?: CallOptions,
    ): Promise<{ status: number; body: unknown }> {
      return withSpan(
        `${init.method} ${endpoint}`,
        { kind: SpanKind.CLIENT, attributes: { 'http.request.method': init.method, 'url.path': path } },
        async (span) => {
          const headers: Record<string, string> = { ...init.headers, 'dapr-api-token': apiToken }
          propagation.inject(context.active(), headers)
          try {
            const response = await sendHttp(
              {
                method: init.method,
                headers,
                agent,
                host: '127.0.0.1',
                port: httpPort,
                path: invokePath(endpoint, path),
              },
              init.body,
              Math.max(1, deadlineOf(call) - Date.now()),
            )
            span.setAttribute('http.response.status_code', response.status)
            return response
          } catch (error) {
            throw unavailable(`${endpoint}_unavailable`, `${endpoint} did not respond`, error)
          }
        },
      )
    },
  }
}

const invokePath = (endpoint: string, path: string) => `/v1.0/invoke/${endpoint}/method${path}`

/**
 * Sends an HTTP request and reads the response; JSON is parsed. Not by `fetch`, which took twice
 * the CPU.
 */
function sendHttp(
  options: RequestOptions,
  body: string | undefined,
  timeoutMs: number,
): Promise<{ status: number; body: unknown }> {
  return new Promise((resolve, reject) => {
    const sent = httpRequest(options, (response) => {
      readText(response)
        .then((text) => {
          const isJson = response.headers['content-type']?.includes('json')
          resolve({ status: response.statusCode ?? 0, body: isJson ? JSON.parse(text) : text })
        })
        .catch(reject)
        .finally(() => clearTimeout(timer))
    })
    const timer = setTimeout(() => sent.destroy(new Error(`no response within ${timeoutMs} ms`)), timeoutMs)
    sent.on('error', (error) => {
      clearTimeout(timer)
      reject(error)
    })
    sent.end(body)
  })
}

/**
 * daprd does not pass its own trace to components: a store's span and an event's traceparent come
 * from the request's metadata.
 */
function traceMetadata(): Record<string, string> {
  const parent = traceparent()
  return parent ? { traceparent: parent } : {}
}

const textOf = (data: Uint8Array): string => Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('utf8')
const parseJson = (data: Uint8Array): unknown => JSON.parse(textOf(data))

function stateItem(key: string, value: unknown, write: WriteOptions): StateItem {
  return {
    key,
    value: Buffer.from(JSON.stringify(value)),
    etag: write.etag === undefined ? undefined : { value: write.etag },
    options: {
      concurrency:
        write.firstWrite || write.etag !== undefined
          ? concurrency.CONCURRENCY_FIRST_WRITE
          : concurrency.CONCURRENCY_LAST_WRITE,
      consistency: 0,
    },
    metadata: {
      contentType: 'application/json',
      ...(write.ttlSeconds === undefined ? {} : { ttlInSeconds: String(write.ttlSeconds) }),
    },
  }
}

function transactionOperation(operation: Operation): { operationType: string; request: StateItem } {
  if ('upsert' in operation)
    return { operationType: 'upsert', request: stateItem(operation.upsert, operation.value, operation) }
  if ('delete' in operation) {
    const { delete: key, etag } = operation
    return {
      operationType: 'delete',
      request: {
        key,
        value: Buffer.alloc(0),
        etag: etag === undefined ? undefined : { value: etag },
        options: undefined,
        metadata: {},
      },
    }
  }
  const { type, data, key, subject, id, topic, traceparent: parent } = operation.event
  const request = stateItem(key, data, {})
  request.metadata = {
    'outbox.projection': 'true',
    'cloudevent.type': type,
    'cloudevent.subject': subject ?? key,
    partitionKey: key,
    ...(id === undefined ? {} : { 'cloudevent.id': id }),
    ...(topic === undefined ? {} : { relayTopic: topic }),
    ...(parent === undefined ? {} : { traceparent: parent }),
  }
  return { operationType: 'upsert', request }
}

/**
 * Returns the AppError for a store's error. daprd turns every error of a transaction into INTERNAL
 * (https://github.com/dapr/dapr/blob/v1.18.0/pkg/api/grpc/grpc.go), so only a token in its text
 * tells them apart. Single writes keep their status: a mismatch is ABORTED.
 */
export function stateError(error: ServiceError, storeName: string): AppError {
  const text = error.details ?? ''
  if (error.code === status.ABORTED || text.includes('ETAG_MISMATCH')) {
    return new AppError('conflict', 'etag_mismatch', 'it was changed by another request at the same time', {
      cause: error,
    })
  }
  if (text.includes('EVENT_TOO_LARGE'))
    return new AppError('rejected', 'event_too_large', 'the change is too large to be published', { cause: error })
  if (text.includes('COMMIT_UNKNOWN'))
    return unavailable('commit_unknown', `${storeName} did not say whether the change was stored`, error)
  // What a component refuses for good (pluggable/README.md lists its codes) is a mistake of ours.
  const refused =
    /EVENT_REFUSED|INVALID_REQUEST|INVALID_SETTING/.test(text) ||
    error.code === status.INVALID_ARGUMENT ||
    error.code === status.UNIMPLEMENTED
  if (refused) return new AppError('internal', 'internal', text, { cause: error })
  return unavailable('store_unavailable', `${storeName} is not available right now`, error)
}
