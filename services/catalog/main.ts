import { setTimeout as delay } from 'node:timers/promises'
import { serveAdmin } from '#lib/admin-server.ts'
import { consume } from '#lib/consumer.ts'
import { createDapr } from '#lib/dapr.ts'
import { implement, serveGrpc } from '#lib/grpc-server.ts'
import { runProcess } from '#lib/lifecycle.ts'
import { createLogger } from '#lib/logger.ts'
import { sidecarReady } from '#lib/sidecar-ready.ts'
import { startTelemetry } from '#lib/telemetry.ts'
import { CatalogServiceService } from '#protos/shop/catalog/v1/catalog.ts'
import { createAvailabilityStore } from './availability-store.ts'
import { createCategoryStore } from './category-store.ts'
import { readConfig } from './config.ts'
import { createStockEvents } from './events.ts'
import { createCatalogHandlers } from './grpc.ts'
import { createProductStore } from './product-store.ts'

const env = readConfig()
const log = await createLogger({ service: 'catalog', level: env.LOG_LEVEL, format: env.LOG_FORMAT })

await runProcess(log, async (onClose) => {
  onClose('telemetry', await startTelemetry('catalog', env.OTEL_EXPORTER_OTLP_ENDPOINT))
  const dapr = createDapr({ grpcPort: env.DAPR_GRPC_PORT, httpPort: env.DAPR_HTTP_PORT, apiToken: env.DAPR_API_TOKEN })
  onClose('sidecar connection', dapr.close)

  const state = dapr.state('catalog-store')
  const products = createProductStore({ state, query: dapr.binding, now: () => new Date() })
  const availability = createAvailabilityStore(state)
  const categories = createCategoryStore(dapr.binding)
  const services = [
    implement(CatalogServiceService, createCatalogHandlers({ products, availability, categories })),
    consume(log, createStockEvents(availability)),
  ]
  onClose('gRPC server', await serveGrpc({ port: env.APP_PORT, appToken: env.APP_API_TOKEN, log, services }))

  // The sidecar may come up after this process, and the database after the sidecar.
  const stopped = new AbortController()
  let tableIsThere = false
  const sidecarAnswers = sidecarReady(env.DAPR_HTTP_PORT)
  onClose(
    'admin server',
    await serveAdmin(env.ADMIN_PORT, async () => {
      const sidecar = await sidecarAnswers()
      if (sidecar !== true) return sidecar
      return tableIsThere || 'the table of categories is not there yet'
    }),
  )
  onClose('making of the table', () => stopped.abort())
  void makeTable()

  async function makeTable(): Promise<void> {
    for (let attempt = 1; !stopped.signal.aborted && !tableIsThere; attempt++) {
      try {
        await categories.createTable()
        tableIsThere = true
      } catch (err) {
        log[attempt % 20 === 0 ? 'warn' : 'debug']({ err }, 'the table of categories cannot be made yet')
        await delay(500, undefined, { signal: stopped.signal }).catch(() => {})
      }
    }
  }
})
