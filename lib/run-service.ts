import { serveAdmin } from './admin-server.ts'
import { parseEnv, serviceEnv, type ServiceConfig } from './config.ts'
import { createDapr, type Dapr } from './dapr.ts'
import { serveGrpc, type Implementation } from './grpc-server.ts'
import { runProcess, type OnClose } from './lifecycle.ts'
import { createLogger, type Logger } from './logger.ts'
import { sidecarReady } from './sidecar-ready.ts'
import { startTelemetry } from './telemetry.ts'

export type App = {
  /** The connection to this app's own sidecar. */
  dapr: Dapr
  log: Logger
  /** True, or the reason why this app cannot do its work now. */
  ready: () => Promise<true | string>
  /** Registers what to close when the process stops. */
  onClose: OnClose
}

/**
 * Runs a service: reads its settings from the environment and serves over gRPC what `build`
 * returns. `name` is its Dapr app id and its name in logs and traces. Returns once it serves;
 * SIGTERM and SIGINT let calls in flight finish and end the process. Throws when a setting is
 * missing or wrong.
 */
export async function runService(
  name: string,
  build: (app: Pick<App, 'dapr' | 'log' | 'onClose'>) => Implementation[],
): Promise<void> {
  const config = parseEnv(serviceEnv)
  await runApp(name, config, async ({ dapr, log, onClose }) => {
    const services = build({ dapr, log, onClose })
    onClose('gRPC server', await serveGrpc({ port: config.APP_PORT, appToken: config.APP_API_TOKEN, log, services }))
  })
}

/**
 * Runs what every Dapr app needs: logger, telemetry, the connection to its sidecar and the admin
 * server. `listen` starts what is the app's own. The admin server starts last and closes first: an
 * app that is ready serves. `limitCallers`: as in `startTelemetry`.
 */
export async function runApp(
  name: string,
  config: ServiceConfig,
  listen: (app: App) => Promise<void>,
  { limitCallers = false }: { limitCallers?: boolean } = {},
): Promise<void> {
  const log = await createLogger({ service: name, level: config.LOG_LEVEL, format: config.LOG_FORMAT })
  await runProcess(log, async (onClose) => {
    const telemetry = { tracesPerSecond: config.TRACES_PER_SECOND, limitCallers }
    onClose('telemetry', await startTelemetry(name, config.OTEL_EXPORTER_OTLP_ENDPOINT, telemetry))
    const dapr = createDapr({
      grpcPort: config.DAPR_GRPC_PORT,
      httpPort: config.DAPR_HTTP_PORT,
      apiToken: config.DAPR_API_TOKEN,
    })
    onClose('sidecar connection', dapr.close)
    const ready = sidecarReady(config.DAPR_HTTP_PORT)
    await listen({ dapr, log, ready, onClose })
    onClose('admin server', await serveAdmin(config.ADMIN_PORT, ready, { host: config.ADMIN_HOST }))
  })
}
