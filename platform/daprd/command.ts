// The one place that knows daprd's flags.

export type DaprdOptions = {
  /** The program. */
  daprd: string
  appId: string
  /** Where the app listens; absent for a sidecar that only serves clients. */
  app?: { port: number; protocol: 'grpc' | 'http' }
  ports: { grpc: number; http: number; internal: number; metrics: number }
  /** Dapr Configuration files, merged in this order. */
  configs: string[]
  /** Folders with Components, Subscriptions, Resiliency and HTTPEndpoints. */
  resources: string[]
  /** How long it may take to let messages in flight finish. */
  graceSeconds: number
  /** Where sentry listens: mutual TLS with the other sidecars. Absent: none. */
  sentryPort?: number
  logLevel?: 'debug' | 'info' | 'warn' | 'error'
}

/**
 * The command that starts a sidecar which listens on loopback only (daprd's default is every
 * address of the machine).
 *
 * There is no --enable-app-health-check: a sidecar that finds its app unhealthy ends its
 * subscriptions and begins them again, and where a message was being retried meanwhile, daprd 1.18
 * was seen to consume nothing any more. The inbound retry (dapr-config/resiliency-events.yaml)
 * already waits for an app that is unavailable.
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
