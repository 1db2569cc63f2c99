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
import { errorKinds, toAppError, toGrpcStatus, unauthenticated } from './errors.ts'
import type { Logger } from './logger.ts'
import { contextOfMetadata, SpanKind, withSpan } from './telemetry.ts'

/** What a handler knows of the call beside its request. */
export type Call = {
  /** The Dapr app that calls, or '' for the sidecar itself. */
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

/** A service's handlers: promises of responses; they throw AppError. */
export type Handlers<D> = {
  [K in keyof D]: D[K] extends Method ? (request: RequestOf<D[K]>, call: Call) => Promise<ResponseOf<D[K]>> : never
}

export type Implementation = {
  definition: Definition
  handlers: Record<string, (request: never, call: Call) => Promise<unknown>>
}

/** Pairs generated service definition and handlers, checked against each other by the compiler. */
export const implement = <D>(definition: D, handlers: Handlers<D>): Implementation =>
  ({ definition, handlers }) as unknown as Implementation

const duration = new Histogram({
  name: 'rpc_server_duration_seconds',
  help: 'Time to answer a gRPC call, by method and outcome',
  labelNames: ['method', 'code'],
  buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5],
})

// daprd sends the app token with everything but these (dapr-facts: pkg/channel/grpc, pkg/runtime).
const withoutToken = /\/(ListTopicSubscriptions|ListInputBindings)$/

const deadlineKey = createContextKey('deadline')
/**
 * When the caller of the RPC being handled gives up, as epoch milliseconds; Infinity outside of
 * one.
 */
export const activeDeadline = (c: Context = context.active()) =>
  (c.getValue(deadlineKey) as number | undefined) ?? Infinity

/**
 * Serves gRPC on loopback to this service's own sidecar: checks the app token, continues the
 * caller's trace and deadline, maps AppError to a status with details, writes one log line a call.
 * Returns a function that lets calls in flight finish and closes.
 */
export async function serveGrpc(o: {
  port: number
  appToken: string
  log: Logger
  services: Implementation[]
}): Promise<() => Promise<void>> {
  const server = new Server({ 'grpc.max_receive_message_length': 4 * 1024 * 1024 })
  for (const { definition, handlers } of o.services) {
    const implementation: UntypedServiceImplementation = {}
    for (const [name, method] of Object.entries(definition)) {
      const handler = handlers[name]
      if (handler) implementation[name] = unary(method.path, handler, o)
    }
    server.addService(definition as unknown as ServiceDefinition, implementation)
  }
  await promisify(server.bindAsync.bind(server))(`127.0.0.1:${o.port}`, ServerCredentials.createInsecure())
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
  o: { appToken: string; log: Logger },
) {
  const quiet = withoutToken.test(path)
  return async (call: ServerUnaryCall<unknown, unknown>, done: sendUnaryData<unknown>) => {
    const started = performance.now()
    const { metadata } = call
    const text = (key: string) => metadata.get(key)[0]?.toString() ?? ''
    let failure: ReturnType<typeof toAppError> | undefined
    const deadline = call.getDeadline()
    const parent = contextOfMetadata(metadata).setValue(
      deadlineKey,
      deadline instanceof Date ? deadline.getTime() : deadline,
    )
    const work = async () => {
      if (!quiet && !sameToken(text('dapr-api-token'), o.appToken))
        throw unauthenticated('bad_app_token', 'the app token is missing or wrong')
      return handler(call.request as never, { callerAppId: text('dapr-caller-app-id'), log: o.log, metadata })
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
                  const line = {
                    rpc: path,
                    code,
                    durationMs: Math.round(durationMs * 10) / 10,
                    caller: text('dapr-caller-app-id') || undefined,
                  }
                  if (failure && errorKinds[failure.kind].http >= 500)
                    o.log.error({ ...line, err: failure }, 'call failed')
                  else o.log.info(line, 'call')
                }
              },
            ),
      )
    } catch (error) {
      done(toGrpcStatus(error))
    }
  }
}

function sameToken(given: string, expected: string): boolean {
  const a = Buffer.from(given)
  const b = Buffer.from(expected)
  return a.length === b.length && timingSafeEqual(a, b)
}
