import { serveAdmin } from '#lib/admin-server.ts'
import { createDapr } from '#lib/dapr.ts'
import { serveGrpc } from '#lib/grpc-server.ts'
import { runProcess } from '#lib/lifecycle.ts'
import { createLogger } from '#lib/logger.ts'
import { startTelemetry } from '#lib/telemetry.ts'
import { createCatalogClient } from './catalog-client.ts'
import { readConfig } from './config.ts'
import { createEventHandlers } from './events.ts'
import { createOrdersService } from './grpc.ts'
import { createOrderStore } from './order-store.ts'
import { createUsersClient } from './users-client.ts'

const config = readConfig()
const log = await createLogger({ service: 'orders', level: config.LOG_LEVEL, format: config.LOG_FORMAT })

await runProcess(log, async (onClose) => {
  onClose('telemetry', await startTelemetry('orders', config.OTEL_EXPORTER_OTLP_ENDPOINT))
  const dapr = createDapr({
    grpcPort: config.DAPR_GRPC_PORT,
    httpPort: config.DAPR_HTTP_PORT,
    apiToken: config.DAPR_API_TOKEN,
  })
  onClose('sidecar connection', dapr.close)
  const store = createOrderStore(dapr.state('orders-store'))
  const now = () => new Date().toISOString()
  onClose('admin server', await serveAdmin(config.ADMIN_PORT, () => store.ping().then(() => true as const)))
  const services = [
    createOrdersService({ store, users: createUsersClient(dapr), catalog: createCatalogClient(dapr), now }),
    createEventHandlers({ store, log, now }),
  ]
  onClose('gRPC server', await serveGrpc({ port: config.APP_PORT, appToken: config.APP_API_TOKEN, log, services }))
})
