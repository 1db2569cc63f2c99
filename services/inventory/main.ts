import { serveAdmin } from '#lib/admin-server.ts'
import { createDapr } from '#lib/dapr.ts'
import { serveGrpc } from '#lib/grpc-server.ts'
import { runProcess } from '#lib/lifecycle.ts'
import { createLogger } from '#lib/logger.ts'
import { startTelemetry } from '#lib/telemetry.ts'
import { readConfig } from './config.ts'
import { createEventHandlers } from './events.ts'
import { createInventoryService } from './grpc.ts'
import { createStockStore } from './stock-store.ts'

const config = readConfig()
const log = await createLogger({ service: 'inventory', level: config.LOG_LEVEL, format: config.LOG_FORMAT })

await runProcess(log, async (onClose) => {
  onClose('telemetry', await startTelemetry('inventory', config.OTEL_EXPORTER_OTLP_ENDPOINT))
  const dapr = createDapr({
    grpcPort: config.DAPR_GRPC_PORT,
    httpPort: config.DAPR_HTTP_PORT,
    apiToken: config.DAPR_API_TOKEN,
  })
  onClose('sidecar connection', dapr.close)
  const store = createStockStore(dapr.state('inventory-store'))
  onClose('admin server', await serveAdmin(config.ADMIN_PORT, () => store.ping().then(() => true as const)))
  const services = [createInventoryService({ store }), createEventHandlers({ store, log })]
  onClose('gRPC server', await serveGrpc({ port: config.APP_PORT, appToken: config.APP_API_TOKEN, log, services }))
})
