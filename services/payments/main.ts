import { serveAdmin } from '#lib/admin-server.ts'
import { createDapr } from '#lib/dapr.ts'
import { serveGrpc } from '#lib/grpc-server.ts'
import { runProcess } from '#lib/lifecycle.ts'
import { createLogger } from '#lib/logger.ts'
import { startTelemetry } from '#lib/telemetry.ts'
import { readConfig } from './config.ts'
import { createEventHandlers } from './events.ts'
import { createPaymentsService } from './grpc.ts'
import { createPayments } from './payments.ts'
import { createPaymentStore } from './payment-store.ts'
import { createProviderClient } from './provider-client.ts'

const config = readConfig()
const log = await createLogger({ service: 'payments', level: config.LOG_LEVEL, format: config.LOG_FORMAT })

await runProcess(log, async (onClose) => {
  onClose('telemetry', await startTelemetry('payments', config.OTEL_EXPORTER_OTLP_ENDPOINT))
  const dapr = createDapr({
    grpcPort: config.DAPR_GRPC_PORT,
    httpPort: config.DAPR_HTTP_PORT,
    apiToken: config.DAPR_API_TOKEN,
  })
  onClose('sidecar connection', dapr.close)
  const store = createPaymentStore(dapr.state('payments-store'))
  const payments = createPayments({ store, provider: createProviderClient({ dapr, log }) })
  onClose('admin server', await serveAdmin(config.ADMIN_PORT, () => store.ping().then(() => true as const)))
  const services = [createPaymentsService({ store, payments }), createEventHandlers({ payments, log })]
  onClose('gRPC server', await serveGrpc({ port: config.APP_PORT, appToken: config.APP_API_TOKEN, log, services }))
})
