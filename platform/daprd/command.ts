// daprd's command line, in one place.

export type DaprdOptions = {
  /** The program. */
  daprd: string
  appId: string
  /** Where the app listens. Absent: a sidecar that only serves clients. */
  app?: { port: number; protocol: 'grpc' | 'http' }
  ports: { grpc: number; http: number; internal: number; metrics: number }
  /** Dapr Configuration files, merged in this order. */
  configs: string[]
  /** Folders with Components, Subscriptions, Resiliency and HTTPEndpoints. */
  resources: string[]
  /** How long it may wait for messages in flight when it stops. */
  graceSeconds: number
  /** Where sentry listens, for mutual TLS with other sidecars. Absent: no TLS. */
  sentryPort?: number
  logLevel?: 'debug' | 'info' | 'warn' | 'error'
}

/**
 * Returns the command for a sidecar that listens on loopback only; daprd's default is every address
 * of the machine.
 *
 * It has no --enable-app-health-check: a sidecar that finds its app unhealthy ends its
 * subscriptions and starts them again later, and if a message was being retried at that moment,
 * daprd 1.18 was seen to consume nothing any more. The inbound retry
 * (dapr-config/resiliency-events.yaml) already waits for an unavailable app.
 */
export function daprdCommand(options: DaprdOptions): string[] {
  const { app, ports } = options
  return [
    options.daprd,
    ...flags({
      'app-id': options.appId,
      'app-port': app?.port,
      'app-protocol': app?.protocol,
      'dapr-listen-addresses': '127.0.0.1',
      'dapr-grpc-port': ports.grpc,
      'dapr-http-port': ports.http,
      'dapr-internal-grpc-listen-address': '127.0.0.1',
      'dapr-internal-grpc-port': ports.internal,
      'metrics-listen-address': '127.0.0.1',
      'metrics-port': ports.metrics,
      'dapr-graceful-shutdown-seconds': options.graceSeconds,
      'max-body-size': '4Mi',
      'log-level': options.logLevel,
      'sentry-address': options.sentryPort === undefined ? undefined : `127.0.0.1:${options.sentryPort}`,
    }),
    ...(options.sentryPort === undefined ? [] : ['--enable-mtls']),
    ...options.configs.flatMap((file) => ['--config', file]),
    ...options.resources.flatMap((folder) => ['--resources-path', folder]),
  ]
}

function flags(values: Record<string, string | number | undefined>): string[] {
  return Object.entries(values).flatMap(([name, value]) => (value === undefined ? [] : [`--${name}`, String(value)]))
}
