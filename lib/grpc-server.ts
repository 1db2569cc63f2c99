import { timingSafeEqual } from 'node:crypto'
import { promisify } from 'node:util'
import { context, createContextKey, type Context } from '@opentelemetry/api'
import {
  Server,
  ServerCredentials,
  type Metadata,
  type sendUnaryData,
  type ServerUnaryCall,
  type ServiceDefinition,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js'
import { Histogram } from 'prom-client'
import { errorKinds, toAppError, toGrpcStatus, unauthenticated, type AppError } from './errors.ts'
import type { Logger } from './logger.ts'
import { contextOfMetadata, SpanKind, withSpan } from './telemetry.ts'

/** What a handler knows about the call besides its request. */
export type Call = {
  /** The app id of the calling Dapr app; '' for the sidecar itself. */
  callerAppId: string
  log: Logger
  metadata: Metadata
}

type Method = {
  path: string
  requestSerialize: (value: never) => Buffer
  requestDeserialize: (bytes: Buffer) => unknown
  responseDeserialize: (bytes: Buffer) => unknown
}
export type Definition = Record<string, Method>
export type RequestOf<M extends Method> = ReturnType<M['requestDeserialize']>
export type ResponseOf<M extends Method> = ReturnType<M['responseDeserialize']>

/** A service's handlers: they return promises of responses and throw AppError. */
export type Handlers<D> = {
  [K in keyof D]: D[K] extends Method ? (request: RequestOf<D[K]>, call: Call) => Promise<ResponseOf<D[K]>> : never
}

export type Implementation = {
  definition: Definition
  handlers: Record<string, (request: never, call: Call) => Promise<unknown>>
}

/**
 * Pairs a generated service definition with its handlers; the compiler checks one against the
 * other.
 */
export const implement = <D>(definition: D, handlers: Handlers<D>): Implementation =>
  ({ definition, handlers }) as unknown as Implementation

const duration = new Histogram({
  name: 'rpc_server_duration_seconds',
  help: 'Duration of gRPC calls served, by method and outcome',
  labelNames: ['method', 'code'],
  buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5],
})

// daprd sends the app token with every call but these two, which it makes at start:
// https://github.com/dapr/dapr/blob/v1.18.0/pkg/runtime/pubsub/subscriptions.go#L230
// https://github.com/dapr/dapr/blob/v1.18.0/pkg/runtime/processor/binding/send.go#L464
const withoutToken = /\/(ListTopicSubscriptions|ListInputBindings)$/

const deadlineKey = createContextKey('deadline')
/** When the caller of the RPC being handled gives up, in epoch milliseconds; else Infinity. */
export const activeDeadline = (c: Context = context.active()) =>
  (c.getValue(deadlineKey) as number | undefined) ?? Infinity

/**
 * Serves gRPC on loopback to this service's own sidecar: checks the app token, continues the
 * caller's trace and deadline, maps AppError to a status with details, and logs calls that fail.
 * Returns a function that closes the server after the calls in flight, or after 5 s.
 */
export async function serveGrpc(options: {
  port: number
  appToken: string
  log: Logger
  services: Implementation[]
}): Promise<() => Promise<void>> {
  const server = new Server({ 'grpc.max_receive_message_length': 4 * 1024 * 1024 })
  for (const { definition, handlers } of options.services) {
    const implementation: UntypedServiceImplementation = {}
    for (const [name, method] of Object.entries(definition)) {
      const handler = handlers[name]
      if (handler) implementation[name] = unary(method.path, handler, options)
    }
    server.addService(definition as unknown as ServiceDefinition, implementation)
  }
  await promisify(server.bindAsync.bind(server))(`127.0.0.1:${options.port}`, ServerCredentials.createInsecure())
  return () =>
    new Promise<void>((resolve) => {
      const timer = setTimeout(() => {
        server.forceShutdown()
        resolve()
      }, 5_000)
      server.tryShutdown(() => {
        clearTimeout(timer)
        resolve()
      })
    })
}

function unary(
  path: string,
  handler: (request: never, call: Call) => Promise<unknown>,
  { appToken, log }: { appToken: string; log: Logger },
) {
  const quiet = withoutToken.test(path)
  return async (call: ServerUnaryCall<unknown, unknown>, done: sendUnaryData<unknown>) => {
    const started = performance.now()
    const { metadata } = call
    const text = (key: string) => metadata.get(key)[0]?.toString() ?? ''
    let failure: AppError | undefined
    const deadline = call.getDeadline()
    const parent = contextOfMetadata(metadata).setValue(
      deadlineKey,
      deadline instanceof Date ? deadline.getTime() : deadline,
    )
    const work = async () => {
      if (!quiet && !sameToken(text('dapr-api-token'), appToken))
        throw unauthenticated('bad_app_token', 'the app token is missing or wrong')
      return handler(call.request as never, { callerAppId: text('dapr-caller-app-id'), log, metadata })
    }
    try {
      done(
        null,
        quiet
          ? await work()
          : await withSpan(
              path.slice(1),
              { kind: SpanKind.SERVER, parent, attributes: { 'rpc.system': 'grpc', 'rpc.method': path } },
              async () => {
                try {
                  return await work()
                } catch (error) {
                  failure = toAppError(error)
                  throw failure
                } finally {
                  const durationMs = performance.now() - started
                  const code = failure?.code ?? 'ok'
                  duration.observe({ method: path, code }, durationMs / 1000)
                  logCall(log, { path, code, durationMs, caller: text('dapr-caller-app-id'), failure })
                }
              },
            ),
      )
    } catch (error) {
      done(toGrpcStatus(error))
    }
  }
}

/**
 * One line per failed call. Answers that a caller expects (4xx) are lines at debug, like successes:
 * they are most of a busy service's lines, and the service logs what it changed.
 */
function logCall(
  log: Logger,
  call: { path: string; code: string; durationMs: number; caller: string; failure: AppError | undefined },
): void {
  const { path: rpc, code, durationMs, caller, failure } = call
  // Unavailable without a cause is a refusal of our own, such as orders_busy, and no failure.
  const isRefusal = failure?.kind === 'unavailable' && failure.cause === undefined
  const failed = failure !== undefined && errorKinds[failure.kind].http >= 500 && !isRefusal
  if (!failed && !log.isLevelEnabled('debug')) return
  const line = { rpc, code, durationMs: Math.round(durationMs * 10) / 10, caller: caller || undefined }
  if (failed) log.error({ ...line, err: failure }, 'call failed')
  else log.debug(line, 'call')
}

function sameToken(given: string, expected: string): boolean {
  const a = Buffer.from(given)
  const b = Buffer.from(expected)
  return a.length === b.length && timingSafeEqual(a, b)
}
